"""Prompts of any lengths -> rows of one length, padded to a size that is compiled once."""

from typing import Any, NamedTuple

import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.errors import InputError, TreeError, printable

__all__ = ["Prompts", "bucket", "longest_of", "prompts_of"]

_LEAST, _STEP = 16, 512
_EXPECTED = "token ids [batch, length], or a list of lists of them"


class Prompts(NamedTuple):
    """Prompts, each from index 0 on.

    Attributes:
        tokens: [batch, length]; padding follows each prompt.
        lengths: tokens of each prompt, [batch].
    """

    tokens: np.ndarray
    lengths: np.ndarray


def bucket(length: int) -> int:
    """Return the size that a length is padded to: a power of two, above 512 a multiple of 512.

    >>> [bucket(length) for length in (1, 16, 17, 500, 513, 1600)]
    [16, 16, 32, 512, 1024, 2048]
    """
    if length > _STEP:
        return -(-length // _STEP) * _STEP
    return max(_LEAST, 1 << (length - 1).bit_length())


def longest_of(architecture: Architecture) -> int | None:
    """Return the tokens of the longest sequence; None where nothing limits it.

    Rotary positions whose scaling follows the length have no limit.
    """
    table = architecture.position_embed
    if table is not None:
        return table.rows - table.offset
    for block in architecture.blocks():
        rope = block.attention.rope
        if rope is not None and rope.scaling is not None and rope.scaling.kind == "dynamic":
            return None
    return architecture.positions


def prompts_of(
    tokens: Any, attention_mask: Any, architecture: Architecture, new_tokens: int
) -> Prompts:
    """Return prompts without padding before or inside them.

    Args:
        tokens: ids [batch, length] or [length], or sequences of unequal lengths.
        attention_mask: [batch, length], 0 for padding on either side; None for none.
        architecture: of the model.
        new_tokens: that follow at most.

    Raises:
        InputError: an empty prompt, ids outside the vocabulary, a mask of another shape, or
            sequences that would become longer than the model's positions.
    """
    rows = [_row(each, number) for number, each in enumerate(_rows(tokens, attention_mask))]
    vocabulary = 0 if architecture.embed is None else architecture.embed.rows
    for number, row in enumerate(rows):
        place = f"tokens[{number}]" if len(rows) > 1 else "tokens"
        if not len(row):
            raise InputError(
                place,
                found="an empty prompt",
                expected="one token or more, as that of a text's start",
            )
        wrong = row[(row < 0) | (row >= vocabulary)]
        if len(wrong):
            raise InputError(
                place,
                found=f"holds {int(wrong[0])}",
                expected=f"ids of 0 to {vocabulary - 1:,}, the model's vocabulary",
            )
        longest = longest_of(architecture)
        if longest is not None and len(row) + new_tokens > longest:
            raise InputError(
                place,
                found=f"{len(row):,} tokens and {new_tokens:,} new ones",
                expected=f"at most {longest:,} in all, the model's positions",
                cure="a shorter prompt, or a smaller max_new_tokens",
            )
    lengths = np.array([len(row) for row in rows], np.int32)
    padded = np.zeros((len(rows), lengths.max()), np.int32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return Prompts(padded, lengths)


def _rows(tokens: Any, attention_mask: Any) -> list[Any]:
    if hasattr(tokens, "shape"):
        array = np.asarray(tokens)
        if array.ndim not in (1, 2) or not array.size:
            found = f"has shape {list(array.shape)}"
            raise InputError("tokens", found=found, expected=_EXPECTED)
        array = np.atleast_2d(array)
        if attention_mask is None:
            return list(array)
        mask = np.atleast_2d(np.asarray(attention_mask))
        if mask.shape != array.shape:
            raise InputError(
                "attention_mask",
                found=f"has shape {list(mask.shape)}",
                expected=f"that of the tokens, {list(array.shape)}",
            )
        return [_unpadded(row, keep != 0) for row, keep in zip(array, mask, strict=True)]
    if attention_mask is not None:
        raise InputError(
            "attention_mask", found="is given with lists", expected="tokens as one array"
        )
    if not isinstance(tokens, list | tuple):
        kind = type(tokens).__name__
        raise TreeError("tokens", found=f"is {kind}", expected=_EXPECTED)
    if not tokens:
        raise InputError("tokens", found="no prompt", expected=_EXPECTED)
    nested = any(
        isinstance(each, list | tuple) or hasattr(each, "shape") for each in tokens
    )
    nested = nested and not all(np.ndim(each) == 0 for each in tokens)
    return list(tokens) if nested else [tokens]


def _unpadded(row: np.ndarray, keep: np.ndarray) -> np.ndarray:
    found = np.flatnonzero(keep)
    if len(found) and not keep[found[0] : found[-1] + 1].all():
        raise InputError(
            "attention_mask",
            found="has padding between the tokens of a prompt",
            expected="padding before or after them",
        )
    return row[keep]


def _row(row: Any, number: int) -> np.ndarray:
    try:
        array = np.asarray(row)
    except ValueError:
        array = np.zeros((0, 0))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        found = f"is {printable(repr(row), 60)}"
        raise InputError(f"tokens[{number}]", found=found, expected="a list of token ids")
    return array.astype(np.int64)
