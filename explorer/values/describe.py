"""Named arrays -> what their numbers look like: each tensor, and all together."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from explorer.errors import first_few
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.own_names import component_word
from explorer.paths import name_of
from explorer.values.arrays import (
    NamedValues,
    check_addressable,
    is_numeric,
    sum_array,
    summed_after,
)
from explorer.values.batches import sum_up_all
from explorer.values.groups import pattern_of, range_name
from explorer.values.lines import line_statistics, merged_lines
from explorer.values.parts import KnownSums
from explorer.values.records import (
    Description,
    GroupStatistics,
    LineStatistics,
    StoredStatistics,
    TensorStatistics,
)
from explorer.values.structure import zero_pattern
from explorer.values.summed import Summed, statistics_of

__all__ = ["GroupBy", "NamedValues", "describe_arrays"]

GroupBy = Literal["name", "component", "role", "dtype"]


@paused_gc()  # a record a tensor, and none of them in a circle
def describe_arrays(
    target: str,
    arrays: Iterable[NamedValues],
    bins: bool = True,
    by: GroupBy = "name",
    keep: Callable[[NamedValues, KnownSums], object] | None = None,
    remarks: Iterable[str] = (),
    lines: bool = False,
) -> Description:
    """Return the statistics of arrays, one after the other; none is kept.

    Args:
        target: what they are of.
        arrays: NumPy or JAX arrays, or `Pieces`. Those of other than numbers are left out,
            with a note.
        bins: whether quantiles and histograms are wanted.
        by: what groups have in common: names that differ in numbers alone, or a word.
        keep: called with each array that was read, and what was found of it.
        remarks: further notes.
        lines: whether rows and columns are searched too, in passes of their own.

    >>> import numpy as np
    >>> found = describe_arrays("two", [NamedValues(("bias",), np.array([3.0, 4.0]), "float64")])
    >>> found.totals.l2, found.tensors[0].statistics.mean
    (5.0, 3.5)
    """
    tensors, notes, groups = [], [*remarks], dict[tuple[str, bool, bool], _Group]()
    packed = 0
    for named, found in sum_up_all(_numeric(arrays, notes), bins):
        name = name_of(named.key)
        known = named.known or KnownSums(
            found,
            zero_pattern(named.array, found.moments.zeros, named.is_own),
            _as_stored(named, bins),
            line_statistics(named.array, named.is_own) if lines else None,
        )
        if keep is not None and named.known is None:
            keep(named, known)
        tensors.append(
            TensorStatistics(
                name=name,
                key=named.key if isinstance(named.key, str) else name,
                dtype=named.dtype,
                shape=tuple(named.array.shape),
                role=named.role,
                component=named.component,
                is_parameter=named.is_parameter,
                pattern=known.pattern,
                statistics=statistics_of(found),
                stored=known.stored,
                lines=known.lines,
            )
        )
        if named.remark:
            notes.append(f"{name}: not dequantised, {named.remark}")
        in_total = named.is_parameter and not named.is_packed
        packed += named.is_packed
        key = _group_of(name, named, by), in_total, named.is_packed
        if key not in groups:
            word = "" if by == "name" else key[0]
            groups[key] = _Group(word, is_parameter=in_total, is_packed=named.is_packed)
        groups[key].add(name, named.dtype, found, known.lines)
    whole = Summed()
    for group in groups.values():
        if group.is_parameter:
            whole.merge(group.summed)
    state = [each.word or each.name() for each in groups.values() if each.is_state]
    if state:
        notes.append(f"state, not in the total: {first_few(state)}")
    if packed:
        notes.append(
            f"{packed:,} quantised tensor{'s' * (packed > 1)} of a layout that is not decoded: their "
            "numbers are as stored, and not in the total"
        )
    if by != "name":
        groups = dict(sorted(groups.items(), key=lambda pair: -pair[1].summed.count))
    return Description(
        target=target,
        tensors=tuple(tensors),
        groups=tuple(group.result() for group in groups.values()),
        totals=statistics_of(whole),
        notes=tuple(notes),
    )


def _as_stored(named: NamedValues, bins: bool) -> StoredStatistics | None:
    """Return the statistics of a dequantised array's numbers as they are stored."""
    array = named.stored
    if array is None or not is_numeric(array):
        return None
    return StoredStatistics(
        dtype=array.dtype.name,
        shape=tuple(array.shape),
        statistics=statistics_of(sum_array(array, named.is_own, bins)),
    )


def _numeric(arrays: Iterable[NamedValues], notes: list[str]) -> Iterator[NamedValues]:
    """Yield the arrays of numbers, and note those of others."""
    for named in arrays:
        name = name_of(named.key)
        if is_numeric(named.array):
            if named.known is None:
                check_addressable(name, named.array)
            yield named
        else:
            notes.append(f"{name} ({named.dtype}) is not of real numbers: left out")


def _group_of(name: str, named: NamedValues, by: GroupBy) -> str:
    """Return what the arrays of a group have in common."""
    if by == "name":
        return pattern_of(name)
    if by == "component":
        return component_word(named.component or "other", named.role, name.split("/"))
    return getattr(named, by) or "other"


@dataclass(slots=True)
class _Group:
    word: str = ""
    names: list[str] = field(default_factory=list)
    dtypes: dict[str, None] = field(default_factory=dict)
    summed: Summed = field(default_factory=Summed)
    lines: list[LineStatistics] = field(default_factory=list)
    is_parameter: bool = True
    is_packed: bool = False

    @property
    def is_state(self) -> bool:
        """Whether it is of buffers and other state."""
        return not (self.is_parameter or self.is_packed)

    def add(
        self, name: str, dtype: str, summed: Summed, lines: LineStatistics | None
    ) -> None:
        self.names.append(name)
        self.dtypes[dtype] = None
        self.summed = summed_after(self.summed, summed)
        if lines is not None:
            self.lines.append(lines)

    def name(self) -> str:
        """Return a word, or the names that are in the group as one."""
        if not self.word:
            return range_name(self.names)
        if self.is_packed:
            return f"{self.word} (as stored)"
        return self.word if self.is_parameter else f"{self.word} (state)"

    def result(self) -> GroupStatistics:
        return GroupStatistics(
            name=self.name(),
            dtype="+".join(self.dtypes),
            tensors=len(self.names),
            statistics=statistics_of(self.summed),
            lines=merged_lines(self.lines),
        )
