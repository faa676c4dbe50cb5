"""Trees with quantised leaves, saved: the numbers of the leaves, in the layouts of their libraries."""

import json
from pathlib import Path
from typing import Any

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

import explorer as ex
from explorer.errors import InputError
from tests.conformance.configs import LLAMA
from tests.models.drawn import drawn_params

CONFIG = {**LLAMA, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
SCHEMES = ("nf4", "nf4:double", "int8", "int8:asym", "int4:g32", "int4:asym:search:g32", "fp8", "mxfp4", "nvfp4")  # fmt: skip


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    model = ex.build_model(CONFIG)
    return drawn_params(model, jnp.zeros((1, 4), int))


def raw_tensors(path: Path) -> dict[str, bytes]:
    """Return the bytes of each tensor of a file; NumPy has no 8-bit floats."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    places = {name: each["data_offsets"] for name, each in header.items()}
    return {name: raw[8 + size :][first:last] for name, (first, last) in places.items()}


@pytest.mark.representatives("nf4:double", "int4:asym:search:g32", "mxfp4", "int8")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_numbers_and_counts_are_those_of_the_tree(
    params: dict[str, Any], tmp_path: Path, scheme: str
):
    """As a file quantised from plain weights has them, byte for byte."""
    from explorer.api.writing import quantize_file

    tree, _ = ex.quantize(params, scheme)
    saved = ex.save(tree, tmp_path / "tree", config=CONFIG)
    assert "14 tensors quantised" in " ".join(saved.notes)
    quantize_file(params, scheme, tmp_path / "file", config=CONFIG)
    ours, theirs = (
        raw_tensors(tmp_path / n / "model.safetensors") for n in ("tree", "file")
    )
    assert ours.keys() == theirs.keys()
    for name, data in ours.items():
        if "quant_state" not in name:  # padded with spaces in a file that is streamed
            assert data == theirs[name], name
    assert ex.count_parameters(tmp_path / "tree") == ex.count_parameters(params)
    config = json.loads((tmp_path / "tree/config.json").read_text())
    written = json.loads((tmp_path / "file/config.json").read_text())
    assert config["quantization_config"] == written["quantization_config"]


def test_types_of_gguf(params: dict[str, Any], tmp_path: Path):
    """Queries and keys have their rows in llama.cpp's order; weights are those of the tree."""
    tree, _ = ex.quantize(params, "Q8_0")
    ex.save(tree, tmp_path / "a.gguf", config=CONFIG)
    kinds = {
        t.name: t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "a.gguf").tensors
    }
    assert kinds["blk.0.attn_q.weight"] == kinds["token_embd.weight"] == "Q8_0"
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    _, again = ex.load_pretrained(tmp_path / "a.gguf")
    plain = ex.dequantize(tree)
    same = jax.tree.map(
        lambda a, b: np.array_equal(np.asarray(a), np.asarray(b)), plain, again
    )
    assert all(jax.tree.leaves(same))


def test_stacked_layers(params: dict[str, Any], tmp_path: Path):
    model = ex.build_model(CONFIG, scan=True)
    stacked = drawn_params(model, jnp.zeros((1, 4), int))
    tree, _ = ex.quantize(stacked, "int8")
    ex.save(tree, tmp_path / "a", config=CONFIG)
    with safe_open(tmp_path / "a/model.safetensors", "numpy") as found:
        assert found.get_tensor("model.layers.1.mlp.up_proj.weight").dtype == np.int8
    assert ex.count_parameters(tmp_path / "a") == ex.count_parameters(params)


def test_a_tree_of_no_known_model(tmp_path: Path):
    kernel = np.random.default_rng(0).normal(0, 1, (128, 64)).astype(np.float32)
    tree, _ = ex.quantize(
        {"mlp": {"kernel": kernel, "bias": np.zeros(64, np.float32)}}, "nf4"
    )
    ex.save(tree, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "numpy") as found:
        assert found.get_tensor("mlp.weight").shape == (64 * 128 // 2, 1)
    assert ex.count_parameters(tmp_path / "a.safetensors") == 128 * 64 + 64


@pytest.mark.parametrize(
    ("scheme", "name", "message"),
    [
        (
            "nf4",
            "a.npz",
            "has quantised leaves, for which npz has no layout; expected safetensors",
        ),
        (
            "nf4",
            "a.gguf",
            "is quantised as nf4, of which GGUF has no type; expected one of llama",
        ),
        (
            "Q8_0",
            "a",
            "q8_0:pure has no layout in a safetensors file; .*GGUF holds llama.cpp's types",
        ),
    ],
)
def test_refusals(
    params: dict[str, Any], tmp_path: Path, scheme: str, name: str, message: str
):
    tree, _ = ex.quantize(params, scheme)
    with pytest.raises(InputError, match=message):
        ex.save(tree, tmp_path / name, config=CONFIG)
    assert not [*tmp_path.iterdir()]
