"""Arrays whose shards are in several processes -> what all of them hold, in each process.

Each process sums up its own shards, a copy of each part once; what it found is exchanged in one
collective for all arrays together. Every process must describe the same tree.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from explorer.errors import TreeError
from explorer.paths import Key, name_of
from explorer.values.arrays import NamedValues, sum_array
from explorer.values.parts import KnownSums, TensorPart, decode_part, encode_part, part_of
from explorer.values.summed import Summed

__all__ = ["known_of_processes", "with_other_processes"]


def with_other_processes(
    arrays: Iterable[NamedValues], bins: bool = True
) -> Iterable[NamedValues]:
    """Return arrays with what all processes hold of those that are not wholly in this one.

    Args:
        arrays: of one tree, which every process describes.
        bins: whether quantiles and histograms are wanted.

    >>> [each.known for each in with_other_processes([NamedValues("w", np.zeros(3), "float64")])]
    [None]
    """
    named = list(arrays)
    parted = [each for each in named if is_elsewhere(each.array)]
    if not parted:
        return named
    known = known_of_processes(parted, bins)
    return [
        each._replace(known=known[each.key]) if each.key in known else each
        for each in named
    ]


def is_elsewhere(array: Any) -> bool:
    """Return whether other processes hold parts of an array that are not here."""
    if getattr(array, "is_fully_addressable", True):
        return False
    return not array.is_fully_replicated


def known_of_processes(arrays: Iterable[NamedValues], bins: bool) -> dict[Key, KnownSums]:
    """Return what all processes hold of arrays that none of them holds whole.

    Args:
        arrays: JAX arrays, the same ones in the same order in every process.
        bins: whether quantiles and histograms are wanted.

    Raises:
        TreeError: another process described other arrays.
    """
    mine = [
        part_of(named.key, named.dtype, named.array.shape, KnownSums(_own(named, bins)))
        for named in arrays
    ]
    sides = [
        [decode_part(raw) for raw in msgspec.msgpack.decode(side, type=list[bytes])]
        for side in exchanged(msgspec.msgpack.encode([encode_part(part) for part in mine]))
    ]
    _check_same(sides)
    return {
        parts[0].key: KnownSums(_merged(parts, bins)) for parts in zip(*sides, strict=True)
    }


def _own(named: NamedValues, bins: bool) -> Summed:
    if not named.array.addressable_shards:
        raise TreeError(
            name_of(named.key),
            found="is on devices of other processes alone",
            expected="an array of which each process holds a part",
            cure="describe it in its own process",
        )
    return sum_array(named.array, bins=bins)


def _check_same(sides: list[list[TensorPart]]) -> None:
    """Refuse to merge what processes found of different trees."""
    names = [[(part.key, part.shape) for part in side] for side in sides]
    for number, each in enumerate(names):
        if each != names[0]:
            other = next(iter(set(names[0]) ^ set(each)), names[0][0])
            raise TreeError(
                name_of(other[0]),
                found=f"is not the same in process {number} as in process 0",
                expected="one tree, of which each process holds its shards",
            )


def _merged(parts: tuple[TensorPart, ...], bins: bool) -> Summed:
    """Return the sums of all processes; indices are the array's."""
    found = Summed(has_bins=bins)
    sums = [part.known().summed for part in parts]
    for part in sums:
        found.merge(part)
    for name in ("first_nan", "first_inf"):
        firsts = [getattr(part.moments, name) for part in sums]
        lowest = min((first for first in firsts if first is not None), default=None)
        setattr(found.moments, name, lowest)
    return found


def exchanged(raw: bytes) -> list[bytes]:
    """Return the bytes of every process, in the order of their numbers."""
    from jax.experimental import multihost_utils

    def gathered(array: np.ndarray) -> np.ndarray:
        return np.asarray(multihost_utils.process_allgather(array))

    lengths = gathered(np.array([len(raw)], np.int32)).reshape(-1)
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(raw)] = np.frombuffer(raw, np.uint8)
    everything = gathered(padded).reshape(len(lengths), -1)
    return [row[:n].tobytes() for row, n in zip(everything, lengths.tolist(), strict=True)]
