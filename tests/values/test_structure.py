"""Sparsity patterns, channels far from the others, groups by the inventory's words, the figure."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.formats.pieces import Pieces
from explorer.values.describe import NamedValues, describe_arrays
from explorer.values.structure import outlier_channels, zero_pattern
from tests.cli.in_process import printed


def kernel(shape: tuple[int, ...] = (64, 32), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pruned(array: np.ndarray, kept: int, group: int) -> np.ndarray:
    """Keep the largest of each group along the last axis, as magnitude pruning does."""
    groups = array.reshape(-1, group)
    order = np.argsort(-np.abs(groups), axis=1)
    mask = np.zeros_like(groups)
    np.put_along_axis(mask, order[:, :kept], 1, axis=1)
    return (groups * mask).reshape(array.shape)


@pytest.mark.parametrize(("kept", "group"), [(2, 4), (1, 4), (4, 8), (3, 8)])
def test_patterns_are_found_along_either_axis(kept: int, group: int):
    sparse = pruned(kernel(), kept, group)
    zeros = int((sparse == 0).sum())
    assert zero_pattern(sparse, zeros) == f"{kept}:{group} along axis 1"
    assert zero_pattern(sparse.T.copy(), zeros) == f"{kept}:{group} along axis 0"
    assert ex.describe({"w": sparse}).tensors[0].pattern == f"{kept}:{group} along axis 1"
    assert ex.describe({"w": sparse}).tensors[0].sparsity == 1 - kept / group


@pytest.mark.parametrize("block", [32, 4, 64])
@pytest.mark.parametrize("shape", [(64, 96), (4096, 512), (12, 8, 32)])
def test_patterns_of_tensors_that_are_decoded_in_pieces(shape: tuple[int, ...], block: int):
    sparse = pruned(kernel(shape), 2, 4)
    flat = sparse.reshape(-1)

    def decode(first: int, last: int) -> np.ndarray:
        return flat[first * block : last * block]

    pieces = Pieces(shape, sparse.dtype, flat.size // block, block, decode)
    found = describe_arrays("one", [NamedValues("w", pieces, "q8_0")]).tensors[0]
    assert found.pattern == f"2:4 along axis {len(shape) - 1}"
    flat[-1] = flat[-2] = flat[-3] = 1
    assert (
        describe_arrays("one", [NamedValues("w", pieces, "q8_0")]).tensors[0].pattern == ""
    )


def test_no_pattern_in_random_zeros_nor_in_dense_or_empty_matrices():
    array = kernel()
    at_random = np.where(np.random.default_rng(1).random(array.shape) < 0.7, 0, array)
    for each in (at_random, array, np.zeros((8, 8)), np.zeros((0, 8)), np.zeros(8)):
        assert zero_pattern(each, int((each == 0).sum())) == ""
    spoilt = pruned(array, 2, 4)
    spoilt[-1, -4:] = 1  # one group of four in the last row
    assert zero_pattern(spoilt, int((spoilt == 0).sum())) == ""


def test_channels_far_from_the_others():
    array = kernel()
    assert outlier_channels(array) == []
    array[:, 7] *= 30
    array[:, 20] *= 40
    (found,) = outlier_channels(array)
    assert (found.axis, found.channels) == (1, (7, 20))
    norms = np.linalg.norm(array.astype(np.float64), axis=0)
    assert found.times == pytest.approx(norms.max() / np.median(norms))
    (row,) = outlier_channels(array.T.copy())
    assert (row.axis, row.channels) == (0, (7, 20))
    findings = {f.kind: f for f in ex.check_values({"kernel": array}).findings}
    text = f"norm of columns 7, 20 up to {found.times:.0f} times the median"
    assert findings["outlier_channels"].text == text
    assert not findings["outlier_channels"].is_wrong
    sparse = {
        f.kind: f for f in ex.check_values({"kernel": pruned(kernel(), 2, 4)}).findings
    }
    assert sparse["sparse"].text == "50% of the elements are 0: 2:4 along axis 1"


def model() -> dict[str, np.ndarray]:
    tensors = {"model.embed_tokens.weight": kernel((40, 16))}
    for i in range(3):
        tensors |= {
            f"model.layers.{i}.self_attn.q_proj.weight": kernel((16, 16), i),
            f"model.layers.{i}.self_attn.q_proj.bias": np.zeros(16, np.float32),
            f"model.layers.{i}.mlp.up_proj.weight": kernel((64, 16), i + 9),
            f"model.layers.{i}.input_layernorm.weight": np.ones(16, np.float16),
        }
    return tensors


@pytest.mark.parametrize("by", ["component", "role", "dtype"])
def test_groups_are_the_inventorys(tmp_path: Path, by: str):
    path = str(tmp_path / "model.safetensors")
    save_file(model(), path)
    found = ex.describe(path, by=by)  # pyright: ignore[reportArgumentType]
    right = {
        group.name: group.parameters for group in ex.summarize(ex.explore(path), by).groups
    }  # pyright: ignore[reportArgumentType]
    assert {group.name: group.statistics.count for group in found.groups} == right
    with pytest.raises(InputError, match="by: 'size'; expected name or component or role"):
        ex.describe(path, by="size")  # pyright: ignore[reportArgumentType]


def test_json_and_csv_are_complete_and_the_plot_is_drawn(tmp_path: Path):
    path = str(tmp_path / "model.safetensors")
    save_file(model(), path)
    out = printed("stats", path, "--by", "component", "--format", "json")
    found = json.loads(out)
    assert {group["name"] for group in found["groups"]} == {
        "embedding",
        "attention",
        "mlp",
        "norm",
    }
    words = "role component is_parameter sparsity pattern std quantiles histogram first_nan"
    assert set(words.split()) <= set(found["tensors"][0])
    rows = [*csv.DictReader(io.StringIO(printed("stats", path, "--format", "csv")))]
    assert len(rows) == len(found["tensors"]) == 13
    assert rows[0]["component"] == "embedding"
    picture = tmp_path / "model.png"
    text = printed("stats", path, "--by", "component", "--plot", picture)
    assert "attention" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed("stats", path, "--plot", picture)  # an earlier plot is replaced


def test_moments_alone_are_the_same_moments():
    tree = {"w": kernel((600, 300)), "b": kernel((8, 4)).astype(np.float16)}
    whole, alone = ex.describe(tree), ex.describe(tree, statistics="moments")
    for a, b in zip(whole.tensors, alone.tensors, strict=True):
        assert (b.statistics.quantiles, b.statistics.histogram) == ({}, {})
        for name in ("count", "min", "max", "zeros", "subnormals", "nan", "first_nan"):
            assert getattr(a.statistics, name) == getattr(b.statistics, name)
        assert a.statistics.std == pytest.approx(b.statistics.std, rel=1e-6)
