"""Text -> token ids, by the tokenizer that a checkpoint carries."""

from typing import TYPE_CHECKING

from explorer.errors import InputError
from explorer.pretrained.tokenizers import tokenizer_of
from explorer.storage.local import LOCAL

if TYPE_CHECKING:
    import numpy as np

__all__ = ["scored_sequences", "text_tokens", "token_sequences"]

_MOST = 1 << 24  # bytes of a text
_EACH = 32  # characters of a text that are encoded first for each token that is wanted


def scored_sequences(path: str, text_file: str, length: int, most: int) -> "np.ndarray":
    """Return the tokens of a text file as sequences that each begin as the model's texts do.

    Where the tokenizer begins a text with a token of its own, every sequence has it: models that
    were trained so predict nothing well without.

    Args:
        path, text_file, length, most: as for `token_sequences`.

    Raises:
        InputError: as `token_sequences`.
    """
    import numpy as np

    first = text_tokens(path, "")
    if len(first) != 1 or length < 3:
        return token_sequences(path, text_file, length, most)
    ids = _ids(path, text_file, length * most)
    ids = ids[1:] if ids[0] == first[0] else ids
    length = min(length - 1, len(ids))
    number = min(most, len(ids) // length)
    rows = np.asarray(ids[: number * length], np.int32).reshape(number, length)
    return np.pad(rows, ((0, 0), (1, 0)), constant_values=first[0])


def token_sequences(path: str, text_file: str, length: int, most: int) -> "np.ndarray":
    """Return the tokens of a text file as sequences, [sequences, length].

    Args:
        path: of the checkpoint whose tokenizer is used.
        text_file: UTF-8 text.
        length: tokens of a sequence; a shorter text is one sequence.
        most: how many sequences; the rest of the text is left out.

    Raises:
        InputError: no text, or as `text_tokens`.
    """
    import numpy as np

    ids = _ids(path, text_file, length * most)
    length = min(length, len(ids))
    number = min(most, len(ids) // length)
    return np.asarray(ids[: number * length], np.int32).reshape(number, length)


def _ids(path: str, text_file: str, wanted: int) -> list[int]:
    """Return the first tokens of a text file, `wanted` or more where it has so many."""
    with LOCAL.blob(text_file) as blob:
        data = blob.read(0, min(blob.size(), _MOST))
    text = bytes(data).decode("utf-8", "ignore")
    size = wanted * _EACH
    ids = text_tokens(path, text[:size])
    while len(ids) < wanted and size < len(text):
        size *= 4
        ids = text_tokens(path, text[:size])
    if len(ids) < 2:
        raise InputError(
            text_file, found=f"holds {len(ids)} tokens", expected="some pages of plain text"
        )
    return ids


def text_tokens(path: str, text: str) -> list[int]:
    """Return the token ids of a text.

    Args:
        path: a folder with tokenizer.json, or a GGUF file.
        text: to encode.

    Raises:
        InputError: no tokenizer, or one of another kind.
        MissingPackageError: tokenizer.json, and the package `tokenizers` is not installed.
    """
    return tokenizer_of(path).encode(text)
