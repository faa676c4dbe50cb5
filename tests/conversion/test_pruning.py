"""Checkpoints pruned a tensor at a time: as `prune` prunes them whole."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import explorer as ex
from explorer.api.pruning import prune_file
from explorer.errors import InputError
from explorer.transforms.pruning import streaming
from tests.conformance.configs import LLAMA
from tests.models.drawn import drawn_params

GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 8, "vocab_size": 13}  # fmt: skip


@pytest.fixture(scope="module", params=[LLAMA, GPT2], ids=["llama", "gpt2"])
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    place, config = tmp_path_factory.mktemp("model"), request.param
    model = ex.build_model(config)
    params = drawn_params(model, jnp.zeros((1, 4), int))
    # few distinct magnitudes, so that many are equal at the limit
    params = jax.tree.map(lambda leaf: jnp.round(leaf * 50) / 50, params)
    ex.save(params, place / "a", config=config)
    return place / "a"


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("2:4", {}),
        ("0.3", {}),
        ("0.3", {"scope": "group"}),
        ("0.3", {"scope": "global"}),
        ("0.001", {"scope": "global"}),
        ("0.3", {"by": "random", "seed": 3}),
        ("0.3", {"by": "random", "scope": "global"}),
        ("0.3", {"select": "**/mlp/**"}),
    ],
)
def test_the_same_as_whole(
    folder: Path,
    tmp_path: Path,
    pattern: str,
    options: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(streaming, "_PIECE", 100)  # a few outputs at a time
    tree, change = ex.prune(folder, pattern, **options)
    found = prune_file(folder, pattern, tmp_path / "b", **options)
    ex.save(tree, tmp_path / "c", like=folder)
    ours, whole = (load_file(tmp_path / n / "model.safetensors") for n in "bc")
    assert ours.keys() == whole.keys()
    for name, array in ours.items():
        assert array.tobytes() == whole[name].tobytes(), name
    assert found.zeros == change.zeros
    assert found.notes[:2] == change.notes
    assert (found.bytes_after, found.parameters_after) == (
        change.bytes_after,
        change.parameters_after,
    )
    by_name = {each.name: each for each in change.tensors}
    for each in found.tensors:
        other = by_name[each.name]
        assert (each.zeros, each.after, each.bytes_after) == (other.zeros, other.after, other.bytes_after)  # fmt: skip
        error, wanted = each.relative_error or 0, other.relative_error or 0
        assert error == pytest.approx(wanted, rel=1e-5)


def test_what_is_wrong_with_weights_is_said(tmp_path: Path):
    kernel = np.ones((8, 8), np.float32)
    kernel[3, 5] = np.nan
    save_file({"up_proj.weight": kernel}, tmp_path / "a.safetensors")
    for options in ({"scope": "global"}, {}):
        with pytest.raises(
            InputError, match=r"^up_proj/weight: holds NaN at \[3, 5\]; expected finite"
        ):
            prune_file(
                tmp_path / "a.safetensors", "0.5", tmp_path / "b.safetensors", **options
            )
    with pytest.raises(
        InputError, match=r"^up_proj/weight: 8 inputs, which groups of 3 do not divide"
    ):
        prune_file(tmp_path / "a.safetensors", "2:3", tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="2:4 by wanda is not done a tensor at a time"):
        prune_file(
            tmp_path / "a.safetensors", "2:4", tmp_path / "b.safetensors", by="wanda"
        )
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_record_is_in_the_folder(folder: Path, tmp_path: Path):
    prune_file(folder, "2:4", tmp_path / "b")
    raw = (tmp_path / "b/model.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["__metadata__"]["explorer.transform"] == "prune 2:4 by magnitude of a"
