"""Which entries are pruned: exactly so many, by brute force."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from explorer.transforms.pruning.selection import (
    below_limit,
    limit_of,
    lowest,
    lowest_of_rows,
    outside_n_of_m,
)

few = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 1.5, 1e-40, 3e38])
scores = arrays(np.float32, array_shapes(max_dims=3, max_side=6), elements=few)


def by_sorting(values: np.ndarray, number: int) -> np.ndarray:
    """Python's stable sort of (score, place)."""
    flat = values.reshape(-1).tolist()
    order = sorted(range(len(flat)), key=lambda i: (flat[i], i))
    mask = np.zeros(len(flat), bool)
    mask[order[:number]] = True
    return mask.reshape(values.shape)


@given(scores, st.integers(0, 220))
def test_lowest(values: np.ndarray, number: int):
    number = min(number, values.size)
    found = lowest(values, number)
    assert int(found.sum()) == number
    assert np.array_equal(found, by_sorting(values, number))


@given(scores, st.integers(0, 6))
def test_lowest_of_rows(values: np.ndarray, number: int):
    found = lowest_of_rows(values, number).reshape(-1, values.shape[-1])
    rows = values.reshape(-1, values.shape[-1])
    for row, mask in zip(rows, found, strict=True):
        assert np.array_equal(mask, by_sorting(row, min(number, len(row))))


@given(st.lists(scores, min_size=1, max_size=4), st.data())
def test_all_compared_with_all(several: list[np.ndarray], data: st.DataObject):
    total = sum(each.size for each in several)
    number = data.draw(st.integers(1, total))
    limit = limit_of(lambda: several, number)
    found = np.concatenate([m.reshape(-1) for m in below_limit(several, limit)])
    expected = by_sorting(np.concatenate([each.reshape(-1) for each in several]), number)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("kept", "block"), [(2, 4), (1, 4), (4, 8), (3, 5)])
def test_n_of_m_keeps_the_best_of_every_choice(kept: int, block: int):
    """Of all ways to keep n of m, the one with the largest sum of scores."""
    rng = np.random.default_rng(block)
    values = rng.random((3, 4 * block))
    found = outside_n_of_m(values, kept, block)
    for row, mask in zip(values.reshape(-1, block), found.reshape(-1, block), strict=True):
        best = max(combinations(range(block), kept), key=lambda c: row[list(c)].sum())
        assert tuple(np.flatnonzero(~mask)) == best
