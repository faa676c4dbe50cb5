"""Descriptions of files and trees: the same numbers give the same figures, whatever holds them."""

import json

import jax.numpy as jnp
import ml_dtypes  # noqa: F401 - names of 8-bit floats
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from tests.cli.in_process import printed, run


def layers() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        f"layers.{i}.{name}": rng.standard_normal(shape).astype(np.float32)
        for i in range(3)
        for name, shape in (("weight", (8, 4)), ("bias", (8,)))
    }


def test_formats_and_trees_agree(tmp_path):
    tensors = layers()
    save_file(tensors, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **tensors)
    ways = [ex.describe(str(tmp_path / name)) for name in ("a.safetensors", "a.npz")]
    ways += [ex.describe({k: jnp.asarray(v) for k, v in tensors.items()})]
    figures = [
        {t.name.replace("/", "."): t.statistics for t in way.tensors} for way in ways
    ]
    assert figures[0] == figures[1] == figures[2]
    assert len({way.totals.l1 for way in ways}) == 1


def test_equal_layers_are_together_and_add_up(tmp_path):
    tensors = layers()
    found = ex.describe(tensors)
    names = {group.name: group for group in found.groups}
    assert set(names) == {"layers.[0-2].bias", "layers.[0-2].weight"}
    group = names["layers.[0-2].weight"].statistics
    stacked = np.stack([tensors[f"layers.{i}.weight"] for i in range(3)]).astype(np.float64)
    assert (group.count, group.min, group.max) == (96, stacked.min(), stacked.max())
    assert group.std == pytest.approx(stacked.std(), rel=1e-6)
    assert sum(g.statistics.count for g in found.groups) == found.totals.count


def test_modules_and_selection():
    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    assert [t.name for t in ex.describe(model).tensors] == ["bias", "kernel"]
    assert [t.name for t in ex.describe(model, "kernel").tensors] == ["kernel"]
    with pytest.raises(InputError, match=r"kernle"):
        ex.describe(model, "kernle")


def test_state_is_described_and_left_out_of_the_totals():
    tree = {
        "params": {"w": np.ones((2, 2), np.float32)},
        "batch_stats": {"mean": np.full(2, 9.0)},
    }
    found = ex.describe(tree)
    assert (len(found.tensors), found.totals.count) == (2, 4)
    assert found.notes == ("state, not in the total: batch_stats/mean",)


@pytest.mark.parametrize("target", ["gpt2", "llama-2-7b"])
def test_a_target_without_values_is_one_line(target: str):
    done = run("stats", target)
    assert done.returncode == 2
    assert "has shapes and no values; expected a checkpoint" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_json_contract(tmp_path):
    save_file(layers(), tmp_path / "a.safetensors")
    found = json.loads(printed("stats", tmp_path / "a.safetensors", "--format", "json"))
    wanted = "name key dtype shape count min max mean std rms l1 l2 zeros nan inf quantiles histogram"
    assert set(wanted.split()) <= set(found["tensors"][0])
    assert found["totals"]["count"] == sum(t["count"] for t in found["tensors"])


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn"])
def test_numbers_of_quantised_tensors_are_not_mixed_with_others(tmp_path, dtype: str):
    rng = np.random.default_rng(0)
    codes = rng.integers(-100, 100, (8, 4)).astype(dtype)
    scale, bias = (
        np.full((8, 1), 0.01, np.float32),
        rng.standard_normal(8).astype(np.float32),
    )
    tensors = {"up.weight": codes, "up.weight_scale": scale, "up.bias": bias}
    save_file(tensors, tmp_path / "a.safetensors")
    found = ex.describe(str(tmp_path / "a.safetensors"))
    weight = codes.astype(np.float64) * np.float64(np.float32(0.01))
    assert found.totals.count == bias.size + codes.size
    whole = np.abs(bias.astype(np.float64)).sum() + np.abs(weight).sum()
    assert found.totals.l1 == pytest.approx(whole, rel=1e-6)
    row = next(t for t in found.tensors if t.name == "up/weight")
    assert row.statistics.max == pytest.approx(weight.max(), rel=1e-6)
    assert row.stored is not None
    assert row.stored.statistics.max == codes.astype(np.float64).max()
    assert found.notes == ("state, not in the total: up/weight_scale",)
    args = ("stats", tmp_path / "a.safetensors", "--format", "json")
    (shown,) = [t for t in json.loads(printed(*args))["tensors"] if t["stored"]]
    assert shown["stored"]["dtype"] == dtype
    assert shown["stored"]["max"] == row.stored.statistics.max


def test_moments_alone(tmp_path):
    save_file(layers(), tmp_path / "a.safetensors")
    path = tmp_path / "a.safetensors"
    args = ("stats", path, "--format", "json")
    whole = json.loads(printed(*args))
    found = json.loads(printed(*args, "--moments"))
    for one, other in zip(whole["tensors"], found["tensors"], strict=True):
        assert (other["quantiles"], other["histogram"]) == ({}, {})
        assert one["quantiles"]
        assert other["l2"] == pytest.approx(one["l2"], rel=1e-6)
        assert (other["min"], other["max"]) == (one["min"], one["max"])
    assert "magnitudes" not in printed("stats", path, "--moments")
    done = run("stats", path, "--moments", "--plot", tmp_path / "a.png")
    assert done.returncode == 2
    assert "--plot draws magnitudes, which --moments leaves out" in done.stderr


def test_equal_notes_share_a_row(tmp_path):
    halves = {f"h.{n}.scale": np.float64([1.5, 2.25, n]) for n in (0, 1, 3)}
    save_file(halves, tmp_path / "a.safetensors")
    text = printed("stats", tmp_path / "a.safetensors", "--check")
    rows = [line for line in text.splitlines() if line.startswith("note")]
    assert [row.split()[1] for row in rows] == ["h/[0-1,3]/scale"]
    found = json.loads(
        printed("stats", tmp_path / "a.safetensors", "--check", "--format", "json")
    )
    assert [each["tensor"] for each in found["findings"]] == [
        "h/0/scale",
        "h/1/scale",
        "h/3/scale",
    ]
