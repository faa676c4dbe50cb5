"""The tokenizer that a checkpoint carries: its tokenizer.json, or a GGUF file's vocabulary."""

import codecs
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from explorer.errors import (
    FormatError,
    MissingPackageError,
    TargetError,
    first_line,
    printable,
)
from explorer.pretrained.byte_pairs import (
    BytePairs,
    byte_pairs_of,
    encode_pairs,
    pair_bytes,
)
from explorer.pretrained.loading import gguf_of
from explorer.pretrained.pieces import (
    PieceVocabulary,
    encode_pieces,
    piece_bytes,
    vocabulary_of,
)
from explorer.pretrained.tokenizer_patterns import check_tokenizer_patterns
from explorer.pretrained.whole_tokens import CONTROL
from explorer.storage.local import LOCAL, exists

__all__ = [
    "GgufTokenizer",
    "JsonTokenizer",
    "TextTokenizer",
    "settings_of",
    "tokenizer_of",
]

_MOST = 50_000_000  # bytes of a config
_LARGEST = 200_000_000  # bytes of a tokenizer.json
_UNKNOWN, _UNUSED = 2, 5  # of GGUF's kinds of tokens
_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")


class TextTokenizer(Protocol):
    """Text to token ids, and back as they come.

    Attributes:
        end_tokens: each ends a text.
    """

    @property
    def end_tokens(self) -> tuple[int, ...]: ...

    def encode(self, text: str, longest: int | None = None) -> list[int]:
        """Return the ids of a text, those that the model's texts start with included.

        Args:
            text: to encode.
            longest: ids at most; of a longer text, words are left out at the end.
        """
        ...

    def decoder(self, prompt: Sequence[int]) -> Callable[[int], str]:
        """Return a function that returns the text that each next token completes.

        Args:
            prompt: what the tokens continue.
        """
        ...


@dataclass(frozen=True)
class GgufTokenizer:
    """The vocabulary of a GGUF file, of SentencePiece's kind or GPT-2's."""

    vocabulary: PieceVocabulary | BytePairs
    tokens: Sequence[str]
    kinds: Sequence[int]
    end_tokens: tuple[int, ...]

    def encode(self, text: str, longest: int | None = None) -> list[int]:
        """Return the ids of a text, `longest` at most."""
        if isinstance(self.vocabulary, PieceVocabulary):
            return encode_pieces(text, self.vocabulary)[:longest]
        return encode_pairs(text, self.vocabulary)[:longest]

    def decoder(self, prompt: Sequence[int]) -> Callable[[int], str]:
        """Return a function from the next token to text; characters come when complete."""
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        text_of = (
            piece_bytes if isinstance(self.vocabulary, PieceVocabulary) else pair_bytes
        )

        def decode(token: int) -> str:
            if token >= len(self.tokens):
                return ""
            kind = self.kinds[token] if token < len(self.kinds) else 1
            if kind in (CONTROL, _UNKNOWN, _UNUSED):
                return ""
            return characters.decode(text_of(self.tokens[token], kind))

        return decode


@dataclass(frozen=True)
class JsonTokenizer:
    """A tokenizer.json, read by the library tokenizers."""

    tokenizer: Any
    end_tokens: tuple[int, ...]
    place: str

    def encode(self, text: str, longest: int | None = None) -> list[int]:
        """Return the ids of a text, `longest` at most; special tokens are kept."""
        with _refusals_of(self.place):
            found = self.tokenizer.encode(text)
            if longest is not None and len(found.ids) > longest:
                self.tokenizer.enable_truncation(longest)
                found = self.tokenizer.encode(text)
                self.tokenizer.no_truncation()
        return list(found.ids)

    def decoder(self, prompt: Sequence[int]) -> Callable[[int], str]:
        """Return a function from the next token to text; characters come when complete."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        for token in prompt:  # what the first token is joined to
            stream.step(self.tokenizer, token)
        return lambda token: stream.step(self.tokenizer, token) or ""


def tokenizer_of(path: str) -> TextTokenizer:
    """Return the tokenizer of a checkpoint.

    Args:
        path: a folder with tokenizer.json, a file in one, or a GGUF file.

    Raises:
        InputError: no tokenizer, or one of a kind that is not read.
        MissingPackageError: tokenizer.json, and the package tokenizers is not installed.
    """
    gguf = gguf_of(path)
    return _of_gguf(gguf) if gguf else _of_folder(path)


def _of_gguf(path: str) -> GgufTokenizer:
    from explorer.formats.gguf.key_values import key_values

    pairs = {key: each.value for key, each in key_values(path).items()}
    try:
        vocabulary = vocabulary_of(pairs) or byte_pairs_of(pairs)
    except ValueError as error:
        raise FormatError(path, found=f"its vocabulary has {error}") from None
    if vocabulary is None:
        name, split = (pairs.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
        kind = printable(f"{name!r}, split as {split!r}", 60)
        raise TargetError(
            path,
            found="has no tokenizer"
            if name is None
            else f"has a tokenizer of the kind {kind}",
            expected="one of SentencePiece's kind (llama), or of GPT-2's with a known split",
            cure="give the folder with the model's tokenizer.json, or token ids to "
            "explorer.generate",
        )
    ends = (pairs.get(f"tokenizer.ggml.{key}") for key in _ENDS)
    return GgufTokenizer(
        vocabulary,
        pairs["tokenizer.ggml.tokens"],
        pairs.get("tokenizer.ggml.token_type", ()),
        tuple(dict.fromkeys(each for each in ends if isinstance(each, int))),
    )


def _of_folder(path: str) -> JsonTokenizer:
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    place = os.path.join(folder, "tokenizer.json")
    if not exists(place):
        raise TargetError(
            path,
            found="has no tokenizer.json beside it",
            expected="the tokenizer of the model, or a GGUF file",
            cure="download it, or give token ids to explorer.generate",
        )
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingPackageError(
            place,
            found="needs the package tokenizers",
            cure="pip install -e '.[text]' in the repository",
        ) from None
    raw = LOCAL.read_whole(place, _LARGEST)
    _check_patterns(place, raw)
    with _refusals_of(place):
        tokenizer = Tokenizer.from_buffer(raw)
        tokenizer.no_truncation()  # of the sentences that a model was trained on
        tokenizer.no_padding()
    return JsonTokenizer(tokenizer, _ends_of(folder, tokenizer), place)


def _check_patterns(place: str, raw: bytes) -> None:
    """Refuse patterns that could be searched for without end; other text is the library's."""
    if (
        b"Regex" not in raw and b"\\u" not in raw
    ):  # no such word, and none that is spelled by its codes
        return
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            place, found=f"is not JSON ({error})", cure="correct or remove it"
        ) from None
    check_tokenizer_patterns(place, document)


@contextmanager
def _refusals_of(place: str) -> Iterator[None]:
    """Say in one line what the library tokenizers raises: its Rust code panics at some files."""
    try:
        yield
    except BaseException as error:
        # the library raises plain Exceptions, and its Rust code a BaseException of its own
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise FormatError(
            place,
            found=f"is not a tokenizer of the tokenizers library ({first_line(error)})",
            cure="correct or remove it",
        ) from None


def _ends_of(folder: str, tokenizer: Any) -> tuple[int, ...]:
    """Return what ends a text: of generation_config.json, config.json or the tokenizer's config."""
    for name in ("generation_config.json", "config.json"):
        found = settings_of(folder, name).get("eos_token_id")
        ends = found if isinstance(found, list) else [found]
        numbers = [each for each in ends if isinstance(each, int)]
        if numbers and len(numbers) == len(ends):
            return tuple(numbers)
    text = settings_of(folder, "tokenizer_config.json").get("eos_token")
    text = text.get("content") if isinstance(text, Mapping) else text
    number = tokenizer.token_to_id(text) if isinstance(text, str) else None
    return () if number is None else (number,)


def settings_of(folder: str, name: str) -> dict[str, Any]:
    """Return the content of a folder's JSON file; empty where there is none.

    Raises:
        FormatError: it is not a JSON object.
    """
    path = os.path.join(folder, name)
    if not exists(path):
        return {}
    try:
        found = msgspec.json.decode(LOCAL.read_whole(path, _MOST))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            path, found=f"is not JSON ({error})", cure="correct or remove it"
        ) from None
    if not isinstance(found, dict):
        raise FormatError(path, found=f"holds {type(found).__name__}", expected="an object")
    return found
