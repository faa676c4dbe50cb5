"""The assertions that users put into their tests, and the locks that they are of."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.analyses.lock import lock_text
from explorer.api.structure import explore
from explorer.errors import MismatchError, TargetError
from explorer.testing import assert_matches_lock, assert_parameter_count
from explorer.values.digest import value_lock_text
from tests.cli.in_process import printed, run

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


def test_a_lock_of_values_finds_one_bit(tmp_path: Path):
    lock = tmp_path / "values.lock"
    for algorithm in ("xxh3_128", "blake2b"):
        lock.write_text(value_lock_text(ex.digest(TREE, algorithm=algorithm)) + "\n")
        assert_matches_lock(TREE, lock)
        kernel = np.zeros((4, 3), np.float32)
        kernel.view(np.uint32)[3, 1] = 1  # the smallest subnormal number
        changed = {"dense": {**TREE["dense"], "kernel": kernel}}
        with pytest.raises(MismatchError) as error:
            assert_matches_lock(changed, lock)
        lines = str(error.value).splitlines()
        assert lines[1:] == [
            "different  dense/kernel float32[4, 3]",
            "1 different, 1 identical",
        ]


def test_the_command_locks_values(tmp_path: Path):
    arrays = {"w": np.arange(6, dtype=np.float32), "b": np.zeros(2, np.float16)}
    np.savez(tmp_path / "a.npz", **arrays)
    save_file(arrays, tmp_path / "same.safetensors")
    arrays["w"][5] = -5
    save_file(arrays, tmp_path / "other.safetensors")
    lock = tmp_path / "values.lock"
    lock.write_text(printed("lock", tmp_path / "a.npz", "--values"))
    assert lock.read_text().startswith("# explorer value lock 1\n")
    assert printed("check", tmp_path / "same.safetensors", lock) == "2 identical\n"
    done = run("check", tmp_path / "other.safetensors", lock)
    assert done.returncode == 1
    assert done.stdout == "different  w float32[6]\n1 different, 1 identical\n"
    # what `explorer digest` prints is a lock too, and a lock is a list of digests
    plain = tmp_path / "plain.txt"
    plain.write_text(printed("digest", tmp_path / "a.npz"))
    assert printed("check", tmp_path / "same.safetensors", plain) == "2 identical\n"
    assert printed("diff", "--digests", plain, lock) == "2 identical\n"


def test_an_empty_lock_of_values(tmp_path: Path):
    np.savez(tmp_path / "a.npz")
    lock = tmp_path / "values.lock"
    lock.write_text("# explorer value lock 1\n")
    np.savez(tmp_path / "b.npz", x=np.zeros(2))
    done = run("check", tmp_path / "b.npz", lock)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 added, 0 identical")
