"""Small tensors of float32, several of one size at a time: what a pass costs is shared by them.

They are rows of a matrix: their sums are those of its rows, and their bins are put in order,
added up and searched for all of them at once.
"""

import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from explorer.storage.pages import check_there
from explorer.values.arrays import NamedValues, sum_array
from explorer.values.moments import Moments, moments_of_rows
from explorer.values.rows import sums_of_rows
from explorer.values.sketch import BINS, ERROR, NEGATIVE, Band, middles_of, quantile_ranks
from explorer.values.small import SORTED
from explorer.values.statistics import sum_up
from explorer.values.summed import QUANTILES, Summed, named_quantiles

__all__ = ["sum_up_all"]

_LARGE = 1 << 16  # elements: from here on, a tensor is a pass of its own
_WINDOW = 1 << 22  # elements that wait to be put together
_WAITING = 1024  # tensors that wait at most
_TINY = 2.0**-126
_ROWS = 16  # tensors whose bins are in memory at a time
_BATCH = 1 << 18  # and elements


def sum_up_all(
    arrays: Iterable[NamedValues], bins: bool = True
) -> Iterator[tuple[NamedValues, Summed]]:
    """Yield arrays of numbers in their order, each with what one pass over it gives."""
    window: list[NamedValues] = []
    size = 0
    for named in arrays:
        window.append(named)
        size += prod(named.array.shape) if named.known is None else 0
        if size >= _WINDOW or len(window) >= _WAITING:
            yield from _summed(window, bins)
            window, size = [], 0
    yield from _summed(window, bins)


def _summed(window: list[NamedValues], bins: bool) -> Iterator[tuple[NamedValues, Summed]]:
    """Yield the arrays of a window: those of one size are summed up a batch at a time."""
    same_size: dict[int, list[np.ndarray]] = {}
    for named in window:
        if named.known is None and _is_small(named.array, bins):
            same_size.setdefault(named.array.size, []).append(named.array.reshape(-1))
    batches = {
        size: _sum_up_rows(flat, bins) for size, flat in same_size.items() if len(flat) > 1
    }
    for named in window:
        if named.known is not None:
            yield named, named.known.summed
        elif batches and _is_small(named.array, bins) and named.array.size in batches:
            yield named, next(batches[named.array.size])
        else:
            yield named, sum_array(named.array, named.is_own, bins, named.watch)


def _is_small(array: Any, bins: bool) -> bool:
    return (
        isinstance(array, np.ndarray)
        and array.dtype == np.float32
        and (SORTED if bins else 0) < array.size < _LARGE
    )


def _sum_up_rows(flat: list[np.ndarray], bins: bool) -> Iterator[Summed]:
    """Yield what a pass over each of several flat arrays of one size gives."""
    step = max(1, min(_ROWS, _BATCH // flat[0].size))
    for at in range(0, len(flat), step):
        rows = _stacked(flat[at : at + step])
        if not bins:
            for moments in moments_of_rows(rows, _TINY):
                yield Summed(rows.shape[1], moments, has_bins=False)
            continue
        sums = sums_of_rows(rows, _TINY)
        moments = moments_of_rows(rows, _TINY, sums)
        if sums.odd.any() or (sums.small > sums.zeros).any():
            yield from [sum_up(row) for row in rows]  # before others take their memory
            continue
        yield from _binned(rows, moments, float(sums.least.min()))


class _Memory(threading.local):
    """What batches share, of each thread its own: new memory costs more than what is put there.

    Attributes:
        counts: by upper half of several rows, all of them 0 between calls.
        rows, upper, places: of the elements of a batch, their upper halves, these as indices.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((_ROWS, BINS), np.int64)
        self.rows = np.empty(_BATCH, np.float32)
        self.upper = np.empty(_BATCH, np.uint32)
        self.places = np.empty(_BATCH, np.intp)


_memory = lru_cache(1)(_Memory)


def _stacked(flat: list[np.ndarray]) -> np.ndarray:
    """Return flat arrays of one size as rows, in memory that the next call takes again."""
    size = len(flat) * flat[0].size
    rows = _memory().rows[:size].reshape(len(flat), -1)
    for row, each in zip(rows, flat, strict=True):
        check_there(each)
        row[:] = each
    return rows


def _binned(rows: np.ndarray, moments: list[Moments], least: float) -> list[Summed]:
    """Return what rows of finite numbers give, of which the moments are known."""
    number, size = rows.shape
    largest = max(max(-each.low, each.high) for each in moments)
    low, end = _upper(least), _upper(largest) + 1
    counts = _counted(rows, low, end)
    width = end - low
    keys = np.concatenate([np.arange(end - 1, low - 1, -1) | NEGATIVE, np.arange(low, end)])
    quantiles = _quantiles(counts, size, middles_of(keys), moments)
    histograms = _histograms(counts[:, width:] + counts[:, width - 1 :: -1], low)
    return [
        Summed(
            size,
            moments[row],
            histogram=histograms[row],
            sketch=Band(low, counts[row]),
            quantiles=quantiles[row],
            error=ERROR,
        )
        for row in range(number)
    ]


def _upper(number: float) -> int:
    return int(np.float32(number).view(np.uint32) >> 16)


def _counted(rows: np.ndarray, low: int, end: int) -> np.ndarray:
    """Return how often each bin between two occurs, by value: int32 [rows, bins]."""
    memory = _memory()
    upper, places = memory.upper[: rows.size], memory.places[: rows.size]
    np.right_shift(rows.reshape(-1).view(np.uint32), 16, out=upper)
    np.copyto(places, upper)
    places = places.reshape(rows.shape)
    table = memory.counts[: len(rows)]
    for counts, row in zip(table, places, strict=True):
        np.add.at(counts, row, 1)
    falling = table[:, NEGATIVE + low : NEGATIVE + end]
    rising = table[:, low:end]
    found = np.concatenate(
        [falling[:, ::-1], rising], axis=1, dtype=np.int32, casting="same_kind"
    )
    falling[:] = rising[:] = 0
    return found


def _quantiles(
    counts: np.ndarray, size: int, middles: np.ndarray, moments: list[Moments]
) -> list[dict[str, float]]:
    """Return the order statistics of each row, within 2^-8 of their magnitude."""
    number, width = counts.shape
    before = np.arange(number)[:, None] * size
    ranks = (before + np.array(quantile_ranks(size, QUANTILES))).astype(np.int32)
    at = (
        np.cumsum(counts, dtype=np.int32).searchsorted(ranks)
        - np.arange(number)[:, None] * width
    )
    lowest = np.array([[each.low] for each in moments])
    highest = np.array([[each.high] for each in moments])
    values = np.minimum(np.maximum(middles[at], lowest), highest)
    return [named_quantiles(row) for row in values]


def _histograms(counts: np.ndarray, low: int) -> list[dict[int, int]]:
    """Return how many magnitudes of normal numbers have each exponent, of each row."""
    first = low >> 7
    starts = np.arange(first << 7, low + counts.shape[1], 128) - low
    starts[0] = 0
    sums = np.add.reduceat(counts, starts, axis=1).tolist()
    if not first:  # zeros and subnormals
        sums = [[0, *row[1:]] for row in sums]
    return [{first - 127 + e: n for e, n in enumerate(row) if n} for row in sums]
