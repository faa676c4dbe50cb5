"""A Hugging Face tokenizer.json -> the tokenizer of a GGUF file, as llama.cpp's converters do it.

References:
    conversion/base.py and gguf-py/gguf/vocab.py, github.com/ggml-org/llama.cpp (2026).
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from explorer.errors import FormatError, printable, shown
from explorer.formats.gguf.key_values import GgufValue
from explorer.pretrained.gguf.pre_tokenizers import pre_tokenizer_of
from explorer.pretrained.gguf.special_tokens import special_pairs
from explorer.storage.documents import read_json
from explorer.storage.local import exists

__all__ = ["tokenizer_pairs"]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_FILE = "tokenizer.json"
_MOST = 200_000_000  # bytes
_SPACE = "\u2581"
_UNSCORED = -1000.0  # what llama.cpp's converter gives tokens without a score


class _Vocabulary:
    """Tokens by their number, with types and scores; numbers without a token are unused."""

    def __init__(self, content: Mapping[str, Any], rows: int):
        self.tokens = [f"[PAD{number}]" for number in range(rows)]
        self.types = [UNUSED] * rows
        self.scores = [_UNSCORED] * rows
        vocabulary = content["model"]["vocab"]
        if isinstance(vocabulary, Mapping):
            pairs = [(token, number, _UNSCORED) for token, number in vocabulary.items()]
        else:
            pairs = [(token, n, score) for n, (token, score) in enumerate(vocabulary)]
        for token, number, score in pairs:
            self._put(number, token, NORMAL, score)
        for added in content.get("added_tokens", ()):
            kind = CONTROL if added.get("special") else USER_DEFINED
            self._put(added["id"], added["content"], kind, _UNSCORED)

    def _put(self, number: int, token: str, kind: int, score: float) -> None:
        if type(number) is not int or number < 0:
            raise ValueError(f"the number {shown(number, 40)} of a token")
        if not isinstance(token, str) or not isinstance(score, int | float):
            raise ValueError(f"the token {shown(token, 40)}")
        if number < len(self.tokens):  # of some tables a token or two are cut off
            self.tokens[number], self.types[number] = token, kind
            self.scores[number] = score

    def change(self, rule: Callable[[str], str]) -> None:
        """Spell ordinary tokens in another way."""
        for number, kind in enumerate(self.types):
            if kind == NORMAL:
                self.tokens[number] = rule(self.tokens[number])


def tokenizer_pairs(folder: str, rows: int) -> tuple[dict[str, GgufValue], list[str]]:
    """Return the key-value pairs of a folder's tokenizer, and notes on what is left out.

    Args:
        folder: with a tokenizer.json, or none.
        rows: of the embedding table: so many tokens there are.

    Raises:
        FormatError: the tokenizer.json is not one.
    """
    path = os.path.join(folder, _FILE)
    if not folder or not exists(path):
        return {}, ["no tokenizer: no tokenizer.json is beside the source"]
    try:
        content = read_json(path, _MOST)
        kind = content["model"].get("type") or "BPE"
        if kind not in _MODELS:
            name = printable(kind, 40)
            return {}, [f"no tokenizer: GGUF has none like {name} of {_FILE}"]
        vocabulary = _Vocabulary(content, rows)
        pairs, notes = _MODELS[kind](content, vocabulary)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(
            path,
            found=f"is not a tokenizer of the tokenizers library ({error})",
            expected="a model with its vocabulary",
            cure="correct or remove it",
        ) from None
    tokens = {
        "tokens": GgufValue("array", vocabulary.tokens, "string"),
        "token_type": GgufValue("array", vocabulary.types, "int32"),
    }
    pairs = pairs | tokens | special_pairs(folder, vocabulary.tokens)
    named = {f"tokenizer.ggml.{key}": value for key, value in pairs.items()}
    template = named.pop("tokenizer.ggml.chat_template", None)
    return named | ({"tokenizer.chat_template": template} if template else {}), notes


def _bpe(
    content: Mapping[str, Any], vocabulary: _Vocabulary
) -> tuple[dict[str, GgufValue], list[str]]:
    merges = [
        each
        if isinstance(each, str)
        else " ".join(part.replace(" ", "\u0120") for part in each)
        for each in content["model"].get("merges", ())
    ]
    if content["model"].get("byte_fallback"):
        return _sentencepiece(content, vocabulary, merges), []
    name = pre_tokenizer_of(content.get("pre_tokenizer"))
    pairs = {
        "model": GgufValue("string", "gpt2"),
        "pre": GgufValue("string", name or "default"),
        "merges": GgufValue("array", merges, "string"),
    }
    note = "its pre-tokenizer is none that llama.cpp names: tokenizer.ggml.pre is default"
    return pairs, [] if name else [note]


def _sentencepiece(
    content: Mapping[str, Any], vocabulary: _Vocabulary, merges: list[str]
) -> dict[str, GgufValue]:
    """Return SentencePiece's pair merging: a token's score is the order in which it was made."""
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    made = dict.fromkeys("".join(pair.split(" ")) for pair in merges)
    for rank, token in enumerate(made):
        if token in numbers:
            vocabulary.scores[numbers[token]] = -float(rank)
    unknown = content["model"].get("unk_token")
    for number, token in enumerate(vocabulary.tokens):
        if token == unknown:
            vocabulary.types[number] = UNKNOWN
        elif len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            vocabulary.types[number] = BYTE
    return {
        "model": GgufValue("string", "llama"),
        "pre": GgufValue("string", "default"),
        "scores": GgufValue("array", vocabulary.scores, "float32"),
        "add_space_prefix": GgufValue("bool", _has_space_prefix(content)),
    }


def _has_space_prefix(content: Mapping[str, Any]) -> bool:
    """Return whether a space is put before a text."""
    steps = []
    for part in ("normalizer", "pre_tokenizer"):
        step = content.get(part) or {}
        steps += step.get("normalizers") or step.get("pretokenizers") or [step]
    for step in steps:
        if step.get("type") == "Prepend":
            return True
        if step.get("type") == "Metaspace":
            scheme = step.get("prepend_scheme")
            return scheme != "never" if scheme else bool(step.get("add_prefix_space"))
    return False


def _unigram(
    content: Mapping[str, Any], vocabulary: _Vocabulary
) -> tuple[dict[str, GgufValue], list[str]]:
    unknown = content["model"].get("unk_id")
    if unknown is not None and 0 <= unknown < len(vocabulary.types):
        vocabulary.types[unknown] = UNKNOWN
    pairs = {
        "model": GgufValue("string", "t5"),
        "pre": GgufValue("string", "default"),
        "scores": GgufValue("array", vocabulary.scores, "float32"),
        "add_space_prefix": GgufValue("bool", _has_space_prefix(content)),
    }
    step = content.get("normalizer") or {}
    for each in step.get("normalizers") or [step]:
        if each.get("precompiled_charsmap"):
            import base64

            charsmap = [*base64.b64decode(each["precompiled_charsmap"])]
            pairs["precompiled_charsmap"] = GgufValue("array", charsmap, "uint8")
    return pairs, []


def _wordpiece(
    content: Mapping[str, Any], vocabulary: _Vocabulary
) -> tuple[dict[str, GgufValue], list[str]]:
    prefix = content["model"].get("continuing_subword_prefix", "##")

    def phantom_space(token: str) -> str:
        return token[len(prefix) :] if token.startswith(prefix) else _SPACE + token

    vocabulary.change(phantom_space)
    kinds = {"model": GgufValue("string", "bert"), "pre": GgufValue("string", "default")}
    return kinds, []


_MODELS: dict[
    str,
    Callable[[Mapping[str, Any], _Vocabulary], tuple[dict[str, GgufValue], list[str]]],
] = {"BPE": _bpe, "Unigram": _unigram, "WordPiece": _wordpiece}
