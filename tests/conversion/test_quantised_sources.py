"""Quantised folders as sources: dequantised first, and then like the dequantised copy of them."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.api.adapters import merge_lora_file
from explorer.api.merging import merge_files
from explorer.api.pruning import prune_file
from tests.cli.in_process import run
from tests.conversion.quantised_folders import SCHEMES, write_folders
from tests.conversion.test_quantising_linear import raw_tensors as raw

NOTE = "14 packed weights of"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model quantised by three schemes, each also dequantised, and adapters of it."""
    path = write_folders(tmp_path_factory.mktemp("sources"))
    for scheme in SCHEMES:
        ex.save(path / scheme, path / f"{scheme}-wide", dtype="float32")
    model, params = ex.load_pretrained(path / "nf4")
    adapters, _ = ex.add_lora(params, 2, "q_proj", model=model, rng=jax.random.key(1))
    adapters = jax.tree.map(lambda x: x + 0.01, adapters)
    ex.save_lora(adapters, path / "adapter", model=model)
    return path


def same(a: Path, b: Path) -> None:
    assert raw(a / "model.safetensors") == raw(b / "model.safetensors")
    assert "quantization_config" not in json.loads((a / "config.json").read_text())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_adapters_are_merged(scheme: str, folders: Path, tmp_path: Path):
    changes = [
        merge_lora_file(str(folders / name), folders / "adapter", tmp_path / name)
        for name in (scheme, f"{scheme}-wide")
    ]
    assert any(NOTE in note for note in changes[0].notes)
    assert not any(NOTE in note for note in changes[1].notes)
    wide, merged = (ex.load(p) for p in (folders / f"{scheme}-wide", tmp_path / scheme))
    before, after = (
        t["model"]["layers"]["0"]["self_attn"]["q_proj"]["weight"] for t in (wide, merged)
    )
    adapter = ex.load(folders / "adapter")["base_model"]["model"]["model"]["layers"]["0"]
    a, b = (
        adapter["self_attn"]["q_proj"][n]["weight"].astype(float)
        for n in ("lora_A", "lora_B")
    )
    np.testing.assert_allclose(after, before + b @ a, rtol=1e-5, atol=1e-6)
    key = ("model", "layers", "0", "self_attn", "k_proj", "weight")
    for name in key:
        wide, merged = wide[name], merged[name]
    # float16 is what the config says of the merged file's own kernels
    np.testing.assert_array_equal(merged, np.asarray(wide).astype(merged.dtype))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_kernels_are_pruned(scheme: str, folders: Path, tmp_path: Path):
    change = prune_file(folders / scheme, "0.5", tmp_path / "a")
    prune_file(folders / f"{scheme}-wide", "0.5", tmp_path / "b")
    same(tmp_path / "a", tmp_path / "b")
    assert any(NOTE in note for note in change.notes)
    assert change.bits_before < 16 < change.bits_after
    tree, found = ex.prune(folders / scheme, "0.5")
    written = ex.load(tmp_path / "a")
    jax.tree.map(np.testing.assert_array_equal, tree, written)
    assert any("packed weights dequantised" in note for note in found.notes)


def test_models_are_merged(folders: Path, tmp_path: Path):
    change = merge_files([folders / "nf4", folders / "int8"], tmp_path / "a")
    merge_files([folders / "nf4-wide", folders / "int8-wide"], tmp_path / "b")
    same(tmp_path / "a", tmp_path / "b")
    assert sum(NOTE in note for note in change.notes) == 2


def test_what_is_not_decoded_is_refused(folders: Path, tmp_path: Path):
    import shutil

    from safetensors.numpy import load_file

    shutil.copytree(folders / "int8", tmp_path / "odd")
    tensors = load_file(tmp_path / "odd" / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.SCB"
    tensors[name] = tensors[name][:7]
    save_file(tensors, tmp_path / "odd" / "model.safetensors")
    for words in (
        ("lora", "merge", tmp_path / "odd", folders / "adapter"),
        ("prune", tmp_path / "odd", "--pattern", "0.5"),
        ("merge", tmp_path / "odd", folders / "int8"),
    ):
        done = run(*words, "-o", tmp_path / "new")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert not (tmp_path / "new").exists()
