"""Named arrays -> what their numbers look like: each tensor, and all together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from explorer import dtypes
from explorer.paths import Key, name_of
from explorer.values.groups import pattern_of, range_name
from explorer.values.records import Description, GroupStatistics, TensorStatistics
from explorer.values.statistics import Summed, statistics_of, sum_up

__all__ = ["NamedValues", "describe_arrays"]

_CHUNK = 1 << 24  # elements that are summed up at a time


class NamedValues(NamedTuple):
    """An array with the key that its source gives it, and the name of its stored format."""

    key: Key
    array: Any
    dtype: str
    is_parameter: bool = True


def describe_arrays(target: str, arrays: Iterable[NamedValues]) -> Description:
    """Return the statistics of arrays, one after the other; none is kept.

    Args:
        target: what they are of.
        arrays: NumPy or JAX arrays. Those of other than numbers are left out, with a note.

    >>> found = describe_arrays("two", [NamedValues(("bias",), np.array([3.0, 4.0]), "float64")])
    >>> found.totals.l2, found.tensors[0].statistics.mean
    (5.0, 3.5)
    """
    tensors, notes, groups = [], [], dict[tuple[str, bool], _Group]()
    for key, array, dtype, is_parameter in arrays:
        parts = _parts(array)
        if parts is None:
            notes.append(f"{name_of(key)} ({dtype}) is not of real numbers: left out")
            continue
        found = Summed()
        for part in parts:
            found = _after(found, sum_up(part))
        group = groups.setdefault((pattern_of(name_of(key)), is_parameter), _Group())
        tensors.append(
            TensorStatistics(
                name=name_of(key),
                key=key if isinstance(key, str) else name_of(key),
                dtype=dtype,
                shape=tuple(array.shape),
                statistics=statistics_of(found),
            )
        )
        group.add(name_of(key), dtype, is_parameter, found)
    whole = Summed()
    for group in groups.values():
        if group.is_parameter:
            whole.merge(group.summed)
        else:
            notes.append(f"{range_name(group.names)}: state, not in the total")
    return Description(
        target=target,
        tensors=tuple(tensors),
        groups=tuple(group.result() for group in groups.values()),
        totals=statistics_of(whole),
        notes=tuple(notes),
    )


@dataclass(slots=True)
class _Group:
    names: list[str] = field(default_factory=list)
    dtypes: dict[str, None] = field(default_factory=dict)
    summed: Summed = field(default_factory=Summed)
    is_parameter: bool = True

    def add(self, name: str, dtype: str, is_parameter: bool, summed: Summed) -> None:
        self.names.append(name)
        self.dtypes[dtype] = None
        self.is_parameter = is_parameter
        self.summed = _after(self.summed, summed)

    def result(self) -> GroupStatistics:
        return GroupStatistics(
            name=range_name(self.names),
            dtype="+".join(self.dtypes),
            tensors=len(self.names),
            statistics=statistics_of(self.summed),
        )


def _after(found: Summed, part: Summed) -> Summed:
    """Return the sum of two passes; the second alone where it is the first."""
    if not found.count:
        return part
    found.merge(part)
    return found


def _parts(array: Any) -> Iterable[np.ndarray] | None:
    """Return the elements as flat arrays, one after the other; None for other than numbers."""
    if dtypes.find(array.dtype.name).kind not in ("float", "int", "uint", "bool"):
        return None
    flat = np.asarray(array).reshape(-1)
    return (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))
