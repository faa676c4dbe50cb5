"""The assertions that users put into their tests."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from explorer.analyses.lock import lock_text
from explorer.api.structure import explore
from explorer.errors import MismatchError, TargetError
from explorer.testing import assert_matches_lock, assert_parameter_count

TREE = {"dense": {"kernel": jnp.zeros((4, 3)), "bias": jnp.zeros(3)}}


def test_counts_hold_or_say_what_differs():
    assert_parameter_count(TREE, parameters=15, weights=12, biases=3, tensors=2)
    assert_parameter_count(TREE)
    with pytest.raises(MismatchError) as error:
        assert_parameter_count(TREE, parameters=16, weights=12, biases=1)
    assert str(error.value) == (
        "parameters: found 15, expected 16 (-1); biases: found 3, expected 1 (+2)"
    )
    assert isinstance(error.value, AssertionError)


def test_a_lock_holds_or_lists_the_differences(tmp_path: Path):
    lock = tmp_path / "params.lock"
    lock.write_text(lock_text(explore(TREE)))
    assert_matches_lock(TREE, lock)
    with pytest.raises(
        MismatchError, match=r"recast    dense/bias float32\[3\] -> bfloat16\[3\]"
    ):
        assert_matches_lock(
            {"dense": {**TREE["dense"], "bias": jnp.zeros(3, jnp.bfloat16)}}, lock
        )
    with pytest.raises(TargetError, match="cannot be read: No such file"):
        assert_matches_lock(TREE, tmp_path / "none.lock")


def test_a_lock_survives_keys_that_hold_slashes(tmp_path: Path):
    tree = {
        "mlp/~/linear_0": {"w": jnp.zeros(2)},
        "a": {"b": jnp.ones(1)},
        "a/b": jnp.ones(1),
    }
    lock = tmp_path / "params.lock"
    lock.write_text(lock_text(explore(tree)))
    assert_matches_lock(tree, lock)
