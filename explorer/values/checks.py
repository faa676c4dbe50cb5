"""Named arrays -> what is wrong with their numbers, and what is worth knowing of them.

Wrong: NaN and infinities, kernels and embeddings that are all zero or constant, or that are the
same as another one though nothing ties them, or not the same as the one they are tied to. Worth
knowing: rows and columns of zeros, equal ones, elements far from the others, layers far from
their likes, vectors that are the same, subnormal numbers, a dtype that is wider than its values
need.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from explorer import dtypes
from explorer.paths import name_of
from explorer.values.arrays import check_addressable, sum_array
from explorer.values.blocks import flat_parts
from explorer.values.channels import lines_of
from explorer.values.copies import Layers, Others
from explorer.values.describe import NamedValues
from explorer.values.narrower import narrower_format
from explorer.values.records import Finding, Statistics, ValueCheck
from explorer.values.structure import outlier_channels, zero_pattern
from explorer.values.summed import statistics_of

__all__ = ["check_arrays"]

_FAR = 50.0  # standard deviations; of 10^9 normal numbers none is beyond 7
_MANY = 0.01  # share of subnormal numbers that is worth a line


def check_arrays(target: str, arrays: Iterable[NamedValues]) -> ValueCheck:
    """Return what is wrong with arrays, and what is worth knowing of them.

    >>> found = check_arrays("one", [NamedValues(("w",), np.array([[1.0, np.nan]]), "float64")])
    >>> found.findings[0].text, found.findings[0].index, found.is_sound
    ('1 NaN', (0, 1), False)
    """
    findings: list[Finding] = []
    notes: list[str] = []
    others, layers = Others(), Layers()
    tensors = elements = 0
    for named in arrays:
        name = name_of(named.key)
        if dtypes.find(named.array.dtype.name).kind not in ("float", "int", "uint"):
            notes.append(f"{name} ({named.dtype}) is not of real numbers: not checked")
            continue
        check_addressable(name, named.array)
        array = np.ascontiguousarray(named.array)
        tensors, elements = tensors + 1, elements + array.size
        statistics = statistics_of(sum_array(array, named.is_own, False, named.watch))
        findings += _of_numbers(named, array, statistics)
        if not named.is_parameter:
            continue
        layers.add(named, array, statistics)
        if array.ndim > 1 and not _is_flat(statistics):
            findings += _of_lines(named, array)
            findings += _of_channels(named, array, statistics.zeros)
        findings += others.findings(named, array, _is_flat(statistics))
    findings += [*others.untied(), *layers.findings()]
    wrong_first = sorted(findings, key=lambda finding: not finding.is_wrong)
    return ValueCheck(
        target=target,
        tensors=tensors,
        elements=elements,
        findings=tuple(wrong_first),
        notes=tuple(notes),
    )


def _is_flat(found: Statistics) -> bool:
    return found.min == found.max


def _of_numbers(
    named: NamedValues, array: np.ndarray, found: Statistics
) -> Iterator[Finding]:
    """Yield what the statistics of a tensor say."""
    name, shape = name_of(named.key), array.shape

    def at(flat: int | None) -> tuple[int, ...] | None:
        return None if flat is None else tuple(map(int, np.unravel_index(flat, shape)))

    def finding(
        kind: Any,
        text: str,
        wrong: bool,
        index: int | None = None,
        times: float | None = None,
    ) -> Finding:
        return Finding(
            tensor=name, kind=kind, index=at(index), text=text, is_wrong=wrong, times=times
        )

    if found.nan:
        yield finding("nan", f"{found.nan:,} NaN", True, found.first_nan)
    if found.inf:
        yield finding("inf", f"{found.inf:,} infinite", True, found.first_inf)
    is_matrix = named.is_parameter and array.ndim > 1 and array.size > 1
    if found.zeros == found.count and found.count:
        yield finding("zero", f"all {found.count:,} elements are 0", is_matrix)
    elif is_matrix and _is_flat(found) and found.finite == found.count:
        yield finding("constant", f"all {found.count:,} elements are {found.min:g}", True)
    if found.subnormals > _MANY * found.count:
        share = found.subnormals / found.count
        yield finding("subnormal", f"{share:.1%} of the elements are subnormal", False)
    yield from _outlier(finding, array, found, named.is_own)
    if text := _wide_dtype(named, array, found):
        yield finding("wide_dtype", text, False)


def _wide_dtype(named: NamedValues, array: np.ndarray, found: Statistics) -> str:
    """Return what says that a narrower format holds every number; "" if none does."""
    if named.stored is not None or named.dtype != array.dtype.name:
        return ""
    is_float = dtypes.find(named.dtype).kind == "float"
    if _is_flat(found) or found.min is None or found.max is None:
        return ""
    if named.dtype == "float32" and array.ndim < 2:  # as quantised files keep vectors
        return ""
    if not (
        is_float or named.is_parameter
    ):  # of indices and other state, the type is a habit
        return ""
    narrower = narrower_format(array, found.min, found.max, named.is_own)
    if not narrower:
        return ""
    times = int(dtypes.find(named.dtype).bits / dtypes.find(narrower).bits)
    share = {2: "half", 4: "a quarter of", 8: "an eighth of"}[times]
    return f"every element is exact in {narrower}, which takes {share} the bytes"


def _outlier(
    finding: Any, array: np.ndarray, found: Statistics, is_own: bool
) -> Iterator[Finding]:
    if not found.std or found.min is None or found.max is None or found.mean is None:
        return
    low, high = found.mean - found.min, found.max - found.mean
    if max(low, high) > _FAR * found.std:
        far = max(low, high) / found.std
        value = found.max if high > low else found.min
        index = _first_of(array, value, is_own)
        text = f"{value:.4g} is {far:.0f} standard deviations from the mean"
        yield finding("outlier", text, False, index, float(far))


def _first_of(array: np.ndarray, value: float, is_own: bool) -> int | None:
    """Return the flat index of the first element that is a value."""
    for start, part in flat_parts(array, is_own):
        there = part == value
        if there.any():
            return start + int(there.argmax())
    return None


def _of_lines(named: NamedValues, array: np.ndarray) -> Iterator[Finding]:
    """Yield rows along the first axis, and columns of a matrix, of zeros or equal ones."""
    name = name_of(named.key)
    rows = array.reshape(array.shape[0], -1)
    for lines in lines_of(rows, named.is_own)[: 2 if array.ndim == 2 else 1]:
        what = ("rows", "columns")[lines.axis]
        for kind, numbers, text in (
            (f"zero_{what}", lines.zeros, "are 0"),
            (f"equal_{what}", lines.equal, "are equal to another one"),
        ):
            if numbers.size:
                first = int(numbers[0])
                which = "" if lines.axis == 0 else f", the first of them {first}"
                yield Finding(
                    tensor=name,
                    kind=kind,  # pyright: ignore[reportArgumentType]
                    index=(first,) if lines.axis == 0 else None,
                    text=f"{numbers.size:,} of {lines.number:,} {what} {text}{which}",
                    is_wrong=False,
                    axis=lines.axis,
                )


def _of_channels(named: NamedValues, array: np.ndarray, zeros: int) -> Iterator[Finding]:
    """Yield rows and columns far from the others, and n:m sparsity."""
    name = name_of(named.key)
    if pattern := zero_pattern(array, zeros, named.is_own):
        text = f"{zeros / array.size:.0%} of the elements are 0: {pattern}"
        yield Finding(tensor=name, kind="sparse", index=None, text=text, is_wrong=False)
    if array.dtype.kind not in "iub":
        for axis, channels, times in outlier_channels(
            array.reshape(array.shape[0], -1), named.is_own
        ):
            what = ("row", "column")[axis] + "s" * (len(channels) > 1)
            numbers = ", ".join(map(str, channels[:5])) + ", ..." * (len(channels) > 5)
            text = f"norm of {what} {numbers} up to {times:.0f} times the median"
            index = (channels[0],) if axis == 0 else None
            yield Finding(
                tensor=name,
                kind="outlier_channels",
                index=index,
                text=text,
                is_wrong=False,
                axis=axis,
                times=times,
            )
