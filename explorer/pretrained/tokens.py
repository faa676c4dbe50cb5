"""Text -> token ids, by the tokenizer that a checkpoint carries."""

from typing import TYPE_CHECKING

from explorer.errors import InputError
from explorer.pretrained.tokenizers import tokenizer_of
from explorer.storage.local import LOCAL

if TYPE_CHECKING:
    import numpy as np

__all__ = ["text_tokens", "token_sequences"]

_MOST = 1 << 24  # bytes of a text
_EACH = 32  # characters of a text that are encoded first for each token that is wanted


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

    with LOCAL.blob(text_file) as blob:
        data = blob.read(0, min(blob.size(), _MOST))
    text = bytes(data).decode("utf-8", "ignore")
    size = length * most * _EACH
    ids = text_tokens(path, text[:size])
    while len(ids) < length * most and size < len(text):
        size *= 4
        ids = text_tokens(path, text[:size])
    if len(ids) < 2:
        raise InputError(
            text_file, found=f"holds {len(ids)} tokens", expected="some pages of plain text"
        )
    length = min(length, len(ids))
    number = min(most, len(ids) // length)
    return np.asarray(ids[: number * length], np.int32).reshape(number, length)


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
