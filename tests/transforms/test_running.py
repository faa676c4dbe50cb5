"""A tensor that is measured in parts is as far from what it was as NumPy says of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.transforms.running import RunningDistance


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.integers(0, 99),
)
def test_parts_of_which_some_are_the_same(sizes: list[int], moved: list[bool], seed: int):
    rng = np.random.default_rng(seed)
    running, whole = RunningDistance(), []
    for size, moves in zip(sizes, moved, strict=False):
        before = rng.normal(size=size).astype(np.float32)
        after = before + (rng.normal(size=size).astype(np.float32) if moves else 0)
        running.add(before, after)
        whole.append((before.astype(np.float64), after.astype(np.float64)))
    a, b = (np.concatenate(side) for side in zip(*whole, strict=True))
    found = running.distance
    assert found is not None
    error = np.linalg.norm(b - a) / np.linalg.norm(a)
    assert found.relative_error == pytest.approx(error, rel=1e-5)
    assert found.cosine == pytest.approx(
        a @ b / np.linalg.norm(a) / np.linalg.norm(b), 1e-5
    )
    assert found.max_abs == pytest.approx(np.abs(b - a).max(), rel=1e-6)
