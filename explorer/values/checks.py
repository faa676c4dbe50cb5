"""Named arrays -> what is wrong with their numbers, and what is worth knowing of them.

Wrong: NaN and infinities, kernels and embeddings that are all zero or constant, or that are the
same as another one though nothing ties them. Worth knowing: rows of zeros, equal rows, elements
far from the others, subnormal numbers, a dtype that is wider than its values need.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from explorer import dtypes
from explorer.paths import name_of
from explorer.storage.pages import give_back
from explorer.values.arrays import check_addressable, sum_array
from explorer.values.describe import NamedValues
from explorer.values.records import Finding, Statistics, ValueCheck
from explorer.values.structure import outlier_channels, zero_pattern
from explorer.values.summed import statistics_of

__all__ = ["check_arrays"]

_FAR = 50.0  # standard deviations; of 10^9 normal numbers none is beyond 7
_MANY = 0.01  # share of subnormal numbers that is worth a line
_BLOCK = 1 << 22  # elements


def check_arrays(target: str, arrays: Iterable[NamedValues]) -> ValueCheck:
    """Return what is wrong with arrays, and what is worth knowing of them.

    >>> found = check_arrays("one", [NamedValues(("w",), np.array([[1.0, np.nan]]), "float64")])
    >>> found.findings[0].text, found.findings[0].index, found.is_sound
    ('1 NaN', (0, 1), False)
    """
    findings: list[Finding] = []
    first_with: dict[bytes, str] = {}
    tensors = elements = 0
    for named in arrays:
        if dtypes.find(named.array.dtype.name).kind not in ("float", "int", "uint"):
            continue
        check_addressable(name_of(named.key), named.array)
        array = np.ascontiguousarray(named.array)
        tensors, elements = tensors + 1, elements + array.size
        statistics = statistics_of(sum_array(array, named.is_own, False, named.watch))
        findings += _of_numbers(named, array, statistics)
        if named.is_parameter and array.ndim > 1 and not _is_flat(statistics):
            findings += _of_rows(named, array)
            findings += _of_channels(named, array, statistics.zeros)
            findings += _of_copies(named, array, first_with)
            if named.is_own:
                give_back(array)
    wrong_first = sorted(findings, key=lambda finding: not finding.is_wrong)
    return ValueCheck(
        target=target, tensors=tensors, elements=elements, findings=tuple(wrong_first)
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
    yield from _outlier(finding, array, found)
    as_stored = named.stored is None and named.dtype == array.dtype.name
    if as_stored and not _is_flat(found) and (narrower := _narrower(array)):
        text = f"every element is exact in {narrower}, which takes half the bytes"
        yield finding("wide_dtype", text, False)


def _outlier(finding: Any, array: np.ndarray, found: Statistics) -> Iterator[Finding]:
    if not found.std or found.min is None or found.max is None or found.mean is None:
        return
    low, high = found.mean - found.min, found.max - found.mean
    if max(low, high) > _FAR * found.std:
        flat = array.reshape(-1)
        index = int(flat.argmax() if high > low else flat.argmin())
        far = max(low, high) / found.std
        value = found.max if high > low else found.min
        text = f"{value:.4g} is {far:.0f} standard deviations from the mean"
        yield finding("outlier", text, False, index, float(far))


def _narrower(array: np.ndarray) -> str:
    """Return the 16-bit format that holds every element of a float32 array exactly, or ""."""
    if array.dtype != np.float32 or not array.size:
        return ""
    halves = array.reshape(-1).view(np.uint16)[0 if np.little_endian else 1 :: 2]
    if not np.bitwise_or.reduce(halves):
        return "bfloat16"
    flat = array.reshape(-1)
    for start in (0, *range(4096, flat.size, _BLOCK)):  # most tensors end in the first
        block = flat[start : start + (_BLOCK if start else 4096)]
        with np.errstate(over="ignore"):
            if not (block == block.astype(np.float16)).all():
                return ""
    return "float16"


def _of_rows(named: NamedValues, array: np.ndarray) -> Iterator[Finding]:
    """Yield rows of zeros and rows that are equal, along the first axis."""
    rows = array.reshape(array.shape[0], -1)
    name = name_of(named.key)
    some = np.concatenate([(part != 0).any(axis=1) for part in _row_blocks(rows)])
    empty = np.flatnonzero(~some)
    if empty.size:
        text = f"{empty.size:,} of {rows.shape[0]:,} rows are 0"
        yield _row_finding(name, "zero_rows", int(empty[0]), text)
    keys = np.concatenate([_row_keys(part) for part in _row_blocks(rows)])
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    again = (counts > 1) & ~np.isin(first, empty[:1])
    if again.any():
        number = int(counts[again].sum())
        text = f"{number:,} of {rows.shape[0]:,} rows are equal to another one"
        yield _row_finding(name, "equal_rows", int(first[again].min()), text)


def _of_channels(named: NamedValues, array: np.ndarray, zeros: int) -> Iterator[Finding]:
    """Yield rows and columns far from the others, and n:m sparsity."""
    name = name_of(named.key)
    if pattern := zero_pattern(array, zeros):
        text = f"{zeros / array.size:.0%} of the elements are 0: {pattern}"
        yield Finding(tensor=name, kind="sparse", index=None, text=text, is_wrong=False)
    if array.dtype.kind not in "iub":
        for axis, channels, times in outlier_channels(array.reshape(array.shape[0], -1)):
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


def _row_blocks(rows: np.ndarray) -> list[np.ndarray]:
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    return [rows[start : start + step] for start in range(0, rows.shape[0], step)]


def _row_finding(name: str, kind: Any, row: int, text: str) -> Finding:
    return Finding(tensor=name, kind=kind, index=(row,), text=text, is_wrong=False)


def _row_keys(rows: np.ndarray) -> np.ndarray:
    """Return 64 bits for each row: equal rows have equal ones, others hardly ever."""
    raw = rows.view(np.uint8).reshape(rows.shape[0], -1)
    padded = -(-raw.shape[1] // 8) * 8
    if padded != raw.shape[1]:
        raw = np.pad(raw, ((0, 0), (0, padded - raw.shape[1])))
    words = np.ascontiguousarray(raw).view(np.uint64)
    odd = np.random.default_rng(0).integers(0, 2**63, words.shape[1], np.uint64) * 2 + 1
    mixed = words ^ (words >> np.uint64(29))
    return mixed @ odd.astype(np.uint64)


def _of_copies(
    named: NamedValues, array: np.ndarray, first_with: dict[bytes, str]
) -> Iterator[Finding]:
    """Yield a tensor that is the same as an earlier one."""
    key = hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=16).digest()
    name = name_of(named.key)
    before = first_with.setdefault(key, name)
    if before != name:
        text = f"is the same as {before}, though nothing ties them"
        yield Finding(tensor=name, kind="duplicate", index=None, text=text, is_wrong=True)
