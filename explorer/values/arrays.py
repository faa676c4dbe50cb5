"""An array of any kind -> its sums: in chunks, in pieces that are decoded, or shard by shard."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from explorer import dtypes
from explorer.errors import TreeError
from explorer.formats.pieces import Pieces
from explorer.paths import Key
from explorer.storage.pages import check_there, give_back, read_ahead
from explorer.values.statistics import sum_up
from explorer.values.summed import Summed

if TYPE_CHECKING:
    from explorer.values.parts import KnownSums

__all__ = [
    "NamedValues",
    "check_addressable",
    "is_numeric",
    "is_sharded",
    "sum_array",
    "summed_after",
]


class NamedValues(NamedTuple):
    """An array with the key that its source gives it, and the name of its stored format.

    `role` and `component` are the inventory's words. `is_own`: whether nothing else has seen
    the array, so that its pages can be given back. `is_packed`: whether its numbers stand for
    others; of those that were dequantised, `stored` is the array as it is stored. `remark`: why
    it could not be. `known`: what an earlier pass, or other processes, found of it; then `array`
    has its shape alone. `watch` is called with the elements of each part of a large one, before
    they are read. `tied_to`: of a second tensor that is stored in full though the model ties it,
    the first one.
    """

    key: Key
    array: Any
    dtype: str
    is_parameter: bool = True
    is_own: bool = False
    role: str = ""
    component: str = ""
    is_packed: bool = False
    stored: Any = None
    remark: str = ""
    known: "KnownSums | None" = None
    watch: Callable[[int], object] | None = None
    tied_to: Key | None = None


_CHUNK = 1 << 23  # elements that are summed up at a time


def is_numeric(array: Any) -> bool:
    """Return whether the elements of an array are real numbers."""
    return _is_numeric(array.dtype)


@lru_cache(64)  # NumPy spells a dtype's name anew each time
def _is_numeric(dtype: Any) -> bool:
    return dtypes.find(dtype.name).kind in ("float", "int", "uint", "bool")


def sum_array(
    array: Any,
    is_own: bool = False,
    bins: bool = True,
    watch: Callable[[int], object] | None = None,
) -> Summed:
    """Return what one pass over an array gives; of a large one, a chunk is in memory at a time.

    Args:
        array: a NumPy or JAX array, or `Pieces`. One that is sharded over several devices is
            summed up shard by shard, each copied to the host on its own.
        is_own: whether nothing else has seen the array: pages of a mapped file are given back.
        bins: whether quantiles and a histogram are wanted.
        watch: called with the elements of each part, before they are read.
    """
    if is_sharded(array):
        return _sum_shards(array, bins)
    found = Summed(has_bins=bins)
    for part in _parts(array, is_own, watch or _unwatched):
        found = summed_after(found, sum_up(part, bins))
    return found


def summed_after(found: Summed, part: Summed) -> Summed:
    """Return the sums of two passes; the second alone where it is the first."""
    if not found.count:
        return part
    found.merge(part)
    return found


def _unwatched(_: int) -> None:
    """See nothing of a part."""


def _parts(
    array: Any, is_own: bool, watch: Callable[[int], object]
) -> Iterator[np.ndarray]:
    """Yield the elements as flat arrays, one after the other."""
    if isinstance(array, Pieces):
        for part in array.parts(_CHUNK):
            watch(part.size)
            yield part
        return
    flat = np.asarray(array).reshape(-1)
    if flat.size <= _CHUNK:
        check_there(flat)
        yield flat
        return
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        watch(part.size)
        check_there(part)
        if is_own:
            read_ahead(flat[start + _CHUNK : start + 2 * _CHUNK])
        yield part
        if is_own:
            give_back(part)


def is_sharded(array: Any) -> bool:
    """Return whether a JAX array is on several devices, in parts or as copies."""
    sharding = getattr(array, "sharding", None)
    return sharding is not None and len(getattr(sharding, "device_set", ())) > 1


def check_addressable(name: str, array: Any) -> None:
    """Refuse an array of which only a part is in this process.

    Raises:
        TreeError: other processes hold shards of it, and no copy of the whole is here.
    """
    if getattr(array, "is_fully_addressable", True):
        return
    if not array.is_fully_replicated:
        raise TreeError(
            name,
            found="is sharded over devices of several processes",
            expected="an array whose shards are all in this process",
            cure="gather it, or describe the checkpoint that it was saved in",
        )


def _sum_shards(array: Any, bins: bool) -> Summed:
    """Return the sums of the shards, each part of the array once; indices are the array's."""
    found = Summed(has_bins=bins)
    firsts: dict[str, list[int]] = {"first_nan": [], "first_inf": []}
    for shard in array.addressable_shards:  # of other processes, they sum up theirs
        if shard.replica_id and not array.is_fully_replicated:
            continue
        part = sum_array(np.asarray(shard.data), bins=bins)
        for name, indices in firsts.items():
            if (first := getattr(part.moments, name)) is not None:
                indices.append(_in_whole(first, shard.index, shard.data.shape, array.shape))
        found = summed_after(found, part)
        if array.is_fully_replicated:  # any copy is the whole
            break
    for name, indices in firsts.items():
        setattr(found.moments, name, min(indices, default=None))
    return found


def _in_whole(
    flat: int, index: tuple[slice, ...], shape: tuple[int, ...], whole: tuple[int, ...]
) -> int:
    """Return the flat index in an array of an element of one of its shards."""
    inner = np.unravel_index(flat, shape)
    outer = [int(i) + (cut.start or 0) for i, cut in zip(inner, index, strict=True)]
    return int(np.ravel_multi_index(outer, whole)) if whole else 0
