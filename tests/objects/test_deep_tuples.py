"""Tuples in tuples, as chains of optax are: deep ones, and those that unfold without end."""

import flax.nnx  # noqa: F401 - its own search of tuples is tried too
import numpy as np
import pytest

import explorer as ex
from explorer.errors import TreeError


def nested(width: int, levels: int) -> tuple:
    """Tuples that hold the one before them, so often as they are wide."""
    tree = (np.ones(1),)
    for _ in range(levels):
        tree = (tree,) * width
    return tree


def test_deep_tuples_are_counted():
    assert ex.count_parameters(nested(1, 5_000)) == 1


def test_tuples_that_unfold_without_end_are_refused():
    assert ex.count_parameters(nested(2, 3)) == 1
    with pytest.raises(TreeError):
        ex.count_parameters(nested(2, 60))
