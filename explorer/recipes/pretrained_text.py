"""Real text for pretrained models: sentences of Python's documentation, as tokens of a folder."""

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.errors import InputError, MissingPackageError, TargetError
from explorer.storage.local import exists, read_whole
from explorer.training.data.text import library_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

__all__ = ["encode", "neighbours", "sentences_of", "text_of", "tokenizer_of"]

_LARGEST = 1 << 26
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PROSE = re.compile(r"[A-Z][^=<>\\]{20,300}[.!?]")
_DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)


def text_of(path: str, characters: int) -> list[str]:
    """Return paragraphs of a file of text, or of the docstrings of Python's own library.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    if path:
        try:
            text = read_whole(path, _LARGEST)[:characters].decode("utf-8", "ignore")
        except UnicodeDecodeError:
            raise TargetError(path, found="is not text in UTF-8") from None
        return re.split(r"\n\s*\n", text)
    found = _DOCSTRING.findall(library_text(characters))
    return [paragraph for text in found for paragraph in re.split(r"\n\s*\n", text)]


def sentences_of(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph that are prose, in their order.

    >>> sentences_of("It opens a file for reading. Then the file is closed again.  x = 3")
    ['It opens a file for reading.']
    """
    joined = " ".join(paragraph.split())
    return [s for s in _SENTENCE.split(joined) if _PROSE.fullmatch(s)]


def neighbours(paragraphs: list[str]) -> list[tuple[str, str]]:
    """Return pairs of sentences that stand one after the other, each sentence once."""
    pairs: dict[tuple[str, str], None] = {}
    seen: set[str] = set()
    for paragraph in paragraphs:
        found = sentences_of(paragraph)
        for a, b in zip(found[::2], found[1::2]):
            if a not in seen and b not in seen and a != b:
                pairs[a, b] = None
                seen |= {a, b}
    return list(pairs)


def tokenizer_of(folder: str) -> "Tokenizer":
    """Return the tokenizer of a folder.

    Raises:
        MissingPackageError: the library tokenizers is not installed.
        InputError: the folder has no tokenizer.json.
    """
    place = os.path.join(
        folder if os.path.isdir(folder) else os.path.dirname(folder), "tokenizer.json"
    )
    if not exists(place):
        raise InputError(
            folder, found="has no tokenizer.json", expected="one beside the weights"
        )
    try:
        from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingPackageError(
            place,
            found="needs the library tokenizers, which is not installed",
            cure="pip install tokenizers",
        ) from None
    found = Tokenizer.from_file(place)
    found.no_padding()
    found.no_truncation()
    return found


def encode(tokenizer: "Tokenizer", texts: list[str], length: int) -> dict[str, np.ndarray]:
    """Return the ids of texts and their masks, [texts, length], cut or filled up with zeros."""
    ids = np.zeros((len(texts), length), np.int32)
    mask = np.zeros((len(texts), length), np.int32)
    for row, found in enumerate(tokenizer.encode_batch(texts)):
        kept: Any = found.ids[:length]
        ids[row, : len(kept)] = kept
        mask[row, : len(kept)] = 1
    return {"ids": ids, "mask": mask}
