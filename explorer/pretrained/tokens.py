"""Text -> token ids, by the tokenizer that a checkpoint carries."""

import os
from typing import TYPE_CHECKING

from explorer.errors import InputError, MissingPackageError, TargetError
from explorer.pretrained.pieces import encode_pieces, vocabulary_of
from explorer.storage.local import LOCAL, exists

if TYPE_CHECKING:
    import numpy as np

__all__ = ["text_tokens", "token_sequences"]

_MOST = 1 << 24  # bytes of a text


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
    ids = text_tokens(path, text)
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
        path: a folder with tokenizer.json, or a GGUF file with a vocabulary of SentencePiece's
            kind.
        text: to encode.

    Raises:
        InputError: no tokenizer, or one of another kind.
        MissingPackageError: tokenizer.json, and the package `tokenizers` is not installed.
    """
    if not os.path.isdir(path) and path.lower().endswith(".gguf"):
        from explorer.formats.gguf.key_values import key_values

        pairs = {key: each.value for key, each in key_values(path).items()}
        vocabulary = vocabulary_of(pairs)
        if vocabulary is None:
            raise TargetError(
                path,
                found=f"has a tokenizer of the kind {pairs.get('tokenizer.ggml.model')!r}",
                expected="one of SentencePiece's kind, llama",
                cure="give token ids to explorer.prune(data=)",
            )
        return encode_pieces(text, vocabulary)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    place = os.path.join(folder, "tokenizer.json")
    if not exists(place):
        raise TargetError(
            path,
            found="has no tokenizer.json beside it",
            expected="the tokenizer of the model, or a GGUF file",
            cure="give token ids to explorer.prune(data=)",
        )
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingPackageError(
            place,
            found="needs the package tokenizers",
            cure="pip install 'jax-explorer[text]'",
        ) from None
    tokenizer = Tokenizer.from_file(place)
    tokenizer.no_truncation()  # of the sentences that a model was trained on
    tokenizer.no_padding()
    return list(tokenizer.encode(text).ids)
