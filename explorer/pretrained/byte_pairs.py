"""Text <-> token ids, by the vocabulary and the merges of a GGUF file of GPT-2's kind.

A text is split by a pattern, each part spelt with a character a byte, and the neighbours whose
merge comes first in the file are joined until none is left.

References:
    Sennrich et al. 2016; Radford et al. 2019 (bytes as characters); src/llama-vocab.cpp,
    github.com/ggml-org/llama.cpp (2026): the patterns by name.
"""

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from explorer.pretrained.gguf.pre_tokenizers import PATTERNS
from explorer.pretrained.whole_tokens import WholeTokens

__all__ = ["BytePairs", "byte_pairs_of", "encode_pairs", "pair_bytes", "translated"]

# Unicode's White_Space, of which Python's \s holds four characters more
_SPACES = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# names of llama.cpp that share a pattern
_NAMES = {
    "gpt-2": "gpt-2", "phi-2": "gpt-2", "olmo": "gpt-2", "mpt": "gpt-2",
    "llama-bpe": "llama-bpe", "llama3": "llama-bpe", "llama-v3": "llama-bpe",
    "qwen2": "qwen2", "stablelm2": "qwen2", "deepseek-r1-qwen": "qwen2",
    "gpt-4o": "gpt-4o",
}  # fmt: skip


class BytePairs(NamedTuple):
    """A vocabulary with the order of its merges.

    Attributes:
        ids: of each token, a character a byte.
        ranks: of each pair that is joined.
        pattern: of the parts that a text is split into.
        begin: the id that starts a text; None for none.
        takes_words: whether a part that is a token is not merged.
        whole: tokens that are found in a text first.
    """

    ids: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]
    pattern: re.Pattern[str]
    begin: int | None = None
    takes_words: bool = False
    whole: WholeTokens = WholeTokens({})


def byte_pairs_of(metadata: Mapping[str, object]) -> BytePairs | None:
    """Return the vocabulary in the metadata of a GGUF file; None for one of another kind.

    Args:
        metadata: the key-value pairs, arrays as lists.
    """
    tokens = metadata.get("tokenizer.ggml.tokens")
    merges = metadata.get("tokenizer.ggml.merges")
    name = _NAMES.get(str(metadata.get("tokenizer.ggml.pre", "gpt-2")))
    if metadata.get("tokenizer.ggml.model") != "gpt2" or name is None:
        return None
    if not isinstance(tokens, list) or not isinstance(merges, list):
        return None
    ranks = {}
    for rank, merge in enumerate(merges):
        left, _, right = merge.partition(" ")
        ranks.setdefault((left, right), rank)
    begin = metadata.get("tokenizer.ggml.bos_token_id")
    # llama.cpp adds a start to Llama 3's texts alone, where nothing is said
    adds = metadata.get("tokenizer.ggml.add_bos_token", name == "llama-bpe")
    return BytePairs(
        {token: number for number, token in reversed([*enumerate(tokens)])},
        ranks,
        re.compile(translated(PATTERNS[name])),
        begin if adds and isinstance(begin, int) else None,
        name == "llama-bpe",
        WholeTokens.of_types(tokens, metadata.get("tokenizer.ggml.token_type")),
    )


def encode_pairs(text: str, vocabulary: BytePairs) -> list[int]:
    """Return the token ids of a text.

    >>> pairs = BytePairs({"a": 0, "b": 1, "ab": 2, "Ġ": 3}, {("a", "b"): 0}, re.compile(" ?[^ ]+"))
    >>> encode_pairs("ab aab", pairs)
    [2, 3, 0, 2]
    """
    found = [] if vocabulary.begin is None else [vocabulary.begin]
    spelling = _characters()
    for part in vocabulary.whole.split(text):
        if isinstance(part, int):
            found.append(part)
            continue
        for word in vocabulary.pattern.findall(part):
            spelt = "".join(spelling[byte] for byte in word.encode())
            if vocabulary.takes_words and spelt in vocabulary.ids:
                found.append(vocabulary.ids[spelt])
            else:
                found += [
                    vocabulary.ids[piece]
                    for piece in _merged([*spelt], vocabulary.ranks)
                    if piece in vocabulary.ids
                ]
    return found


def pair_bytes(token: str, kind: int) -> bytes:
    """Return the text of a token, in UTF-8.

    Args:
        token: as the vocabulary spells it.
        kind: of GGUF's token types.

    >>> pair_bytes("Ġcat", 1)
    b' cat'
    """
    bytes_of = _bytes()
    if kind == 1 and all(character in bytes_of for character in token):
        return bytes(bytes_of[character] for character in token)
    return token.encode()


def _merged(pieces: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Return pieces joined pair by pair, the pair of the first merge everywhere at once."""
    while len(pieces) > 1:
        pairs = [*pairwise(pieces)]
        first = min(pairs, key=lambda pair: ranks.get(pair, sys.maxsize))
        if first not in ranks:
            break
        joined: list[str] = []
        for piece in pieces:
            if joined and (joined[-1], piece) == first:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined
    return pieces


@cache
def _characters() -> list[str]:
    """Return the character of each byte: itself where it prints, another one from 256 on."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in prints]
    by_byte = {byte: chr(byte) for byte in prints}
    by_byte |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    return [by_byte[byte] for byte in range(256)]


@cache
def _bytes() -> Mapping[str, int]:
    return {character: byte for byte, character in enumerate(_characters())}


def translated(pattern: str) -> str:
    r"""Return a pattern with Unicode's categories spelt out, which Python's `re` lacks.

    Args:
        pattern: with `\p{L}`, `\p{Lu}`, ... and `\s`, inside classes or outside.

    >>> bool(re.fullmatch(translated(r"\p{L}+"), "Straße")), bool(re.match(translated(r"[^\p{N}]"), "²"))
    (True, False)
    """
    found, inside, at = [], False, 0
    while at < len(pattern):
        if pattern.startswith("\\p{", at):
            end = pattern.index("}", at)
            ranges = _ranges(pattern[at + 3 : end])
            found.append(ranges if inside else f"[{ranges}]")
            at = end + 1
            continue
        if pattern[at] == "\\":
            found.append(_escaped(pattern[at : at + 2], inside))
            at += 2
            continue
        inside = {"[": True, "]": False}.get(pattern[at], inside)
        found.append(pattern[at])
        at += 1
    return "".join(found)


def _escaped(escape: str, inside: bool) -> str:
    if escape == r"\s":
        return _SPACES if inside else f"[{_SPACES}]"
    return f"[^{_SPACES}]" if escape == r"\S" else escape


@cache
def _ranges(category: str) -> str:
    """Return the characters of a category as the inside of a class."""
    ranges: list[list[int]] = []
    for code, name in enumerate(_categories()):
        if name.startswith(category):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


@cache
def _categories() -> Sequence[str]:
    return [*map(unicodedata.category, map(chr, range(sys.maxunicode + 1)))]
