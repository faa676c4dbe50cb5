"""Sequences of any length in rows of one length, several to a row."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorer.errors import InputError, check_number, check_type, shown
from explorer.tree.arrays import check_arrays

__all__ = ["PackedRows", "next_tokens"]

_LONGEST = 1 << 24
_TOKEN = "a token of 32 bits"


class PackedRows:
    """Rows of `length` tokens, each filled with several sequences: a source of examples.

    Each sequence is whole in one row, where there is room: the longest first, each in the row
    with the least room that it fits in. One that is longer than a row is cut into parts of a
    row each. Batches have "tokens" and "segment_ids", both [rows, length]: the number of each
    token's sequence in its row, from 1, and 0 for the padding at the end.

    Args:
        sequences: each a row of integers.
        length: tokens of a row.
        pad: the token that fills up a row.
        place: named in errors.

    Raises:
        InputError: no token, a sequence that is not a row of integers, one that 32 bits cannot
            hold, a length below 1.

    >>> packed = PackedRows([[5, 6], [7, 7, 7], [8]], 4)
    >>> batch = packed[np.arange(len(packed))]
    >>> batch["tokens"].tolist()
    [[7, 7, 7, 8], [5, 6, 0, 0]]
    >>> batch["segment_ids"].tolist()
    [[1, 1, 1, 2], [1, 1, 0, 0]]
    >>> packed.filled
    0.75
    """

    def __init__(
        self,
        sequences: Iterable[Any],
        length: int,
        *,
        pad: int = 0,
        place: str = "sequences",
    ):
        check_number("length", length)
        check_number("pad", pad)
        if not _fits(np.asarray(pad)):
            raise InputError("pad", found=str(pad), expected=_TOKEN)
        if not 1 <= length <= _LONGEST:
            found, expected = f"{length:,} tokens", f"1 to {_LONGEST:,}"
            raise InputError("length", found=found, expected=expected)
        if not hasattr(type(sequences), "__iter__"):
            check_type(place, sequences, (), "a list of rows of integers")
        parts = list(_parts(sequences, length, place))
        if not parts:
            raise InputError(place, found="no token", expected="at least one")
        self._parts, self._length, self._pad = parts, length, pad
        self._rows = _rows_of([len(part) for part in parts], length)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        shape = (len(indices), self._length)
        tokens, segments = np.full(shape, self._pad, np.int32), np.zeros(shape, np.int32)
        for row, index in enumerate(indices):
            start = 0
            for number, part in enumerate(self._rows[index], start=1):
                end = start + len(self._parts[part])
                tokens[row, start:end] = self._parts[part]
                segments[row, start:end] = number
                start = end
        return {"tokens": tokens, "segment_ids": segments}

    @property
    def filled(self) -> float:
        """The share of all rows that is not padding."""
        return sum(map(len, self._parts)) / (len(self._rows) * self._length)


def next_tokens(tokens: Any, segment_ids: Any) -> tuple[jax.Array, jax.Array]:
    """Return the token after each, and 1 where it is of the same sequence, else 0.

    Args:
        tokens: [batch, length].
        segment_ids: [batch, length], as `PackedRows` numbers them.

    Returns:
        Targets and their weights, both [batch, length].

    Raises:
        InputError: they are not two arrays of one shape, with two axes.

    >>> targets, weights = next_tokens(np.array([[7, 7, 8, 0]]), np.array([[1, 1, 2, 0]]))
    >>> targets.tolist(), weights.tolist()
    ([[7, 8, 0, 7]], [[1.0, 0.0, 0.0, 0.0]])
    """
    for name, array in (("tokens", tokens), ("segment_ids", segment_ids)):
        shape = getattr(array, "shape", None)
        if not isinstance(shape, tuple) or len(shape) != 2 or shape != np.shape(tokens):
            check_arrays(name, array)
            found, wanted = f"shape {np.shape(array)}", "[batch, length], as the tokens"
            raise InputError(name, found=found, expected=wanted)
        check_arrays(name, array)
    # behind the last there is padding
    after = jnp.pad(segment_ids, ((0, 0), (0, 1)))[:, 1:]
    same = (after == segment_ids) & (after != 0)
    return jnp.roll(tokens, -1, axis=1), same.astype(jnp.float32)


def _parts(sequences: Iterable[Any], length: int, place: str) -> Iterable[np.ndarray]:
    """Yield each sequence, in parts that fit in a row."""
    for number, given in enumerate(sequences):
        wanted = "a row of integers"
        try:
            sequence = np.asarray(given)
        except ValueError:
            found = shown(given, 60)
            raise InputError(f"{place}[{number}]", found=found, expected=wanted) from None
        whole = np.issubdtype(sequence.dtype, np.integer) or not sequence.size
        if sequence.ndim != 1 or not whole:
            found = f"{sequence.dtype} of shape {sequence.shape}"
            raise InputError(f"{place}[{number}]", found=found, expected=wanted)
        if not _fits(sequence):
            found = f"tokens from {sequence.min():,} to {sequence.max():,}"
            raise InputError(f"{place}[{number}]", found=found, expected=f"each {_TOKEN}")
        for start in range(0, sequence.size, length):
            yield sequence[start : start + length]


def _fits(tokens: np.ndarray) -> bool:
    """Return whether rows of int32 can hold these integers."""
    limits = np.iinfo(np.int32)
    return not tokens.size or bool(limits.min <= tokens.min() <= tokens.max() <= limits.max)


def _rows_of(lengths: Sequence[int], length: int) -> list[list[int]]:
    """Return which sequences each row holds: best fit, the longest first."""
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms = 0  # bit n is set where a row has room for n more
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        needed = lengths[index]
        fitting = rooms >> needed
        if fitting:
            room = needed + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
        else:
            room, row = length, len(rows)
            rows.append([])
        rows[row].append(index)
        left = room - needed
        if left:
            by_room.setdefault(left, []).append(row)
            rooms |= 1 << left
    return rows
