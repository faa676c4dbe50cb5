"""Real checkpoints written anew: dequantised, quantised, in other formats, by their own libraries."""

from collections import Counter
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

import explorer as ex
from explorer.api.writing import quantize_file
from tests.conformance.minilm import RANK, tuned
from tests.real.test_packages import MINILM, gemma

__all__ = ["gemma"]


def test_minilm_in_every_format(tmp_path: Path):
    for name in ("a.npz", "a.msgpack", "a.orbax", "a.safetensors", "a"):
        ex.save(MINILM, tmp_path / name)
        assert ex.diff(MINILM, tmp_path / name).identical, name
    ours, theirs = (
        load_file(path / "model.safetensors") for path in (tmp_path / "a", MINILM)
    )
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_gemma_dequantised_and_quantised(gemma: Path, tmp_path: Path):
    """Its own file is 246,587,904 bytes of tensors in five types; so is ours, type by type."""
    folder, path = tmp_path / "gemma", tmp_path / "again.gguf"
    ex.save(gemma, folder)
    config = ex.load_pretrained(folder)[0].architecture
    assert (config.family, config.num_layers) == ("gemma3_text", 18)
    change = quantize_file(folder, "Q4_K_M", path)
    assert change.bytes_after == ex.count_bytes(path) == 246_587_904
    assert change.parameters_after == 268_098_176
    ours, theirs = (gguf.GGUFReader(each).tensors for each in (path, gemma))
    kinds = {tensor.name: tensor.tensor_type for tensor in theirs}
    assert {tensor.name: tensor.tensor_type for tensor in ours} == kinds
    # quantised values are on the grid already: quantised again, hardly any moves
    assert change.relative_error is not None
    assert change.relative_error < 2e-4
    same = {t.name: t.data.tobytes() for t in theirs}
    moved = Counter(t.tensor_type.name for t in ours if t.data.tobytes() != same[t.name])
    assert moved.keys() <= {"Q4_K", "Q6_K"}


def test_gemma_in_nf4(gemma: Path, tmp_path: Path):
    change = quantize_file(gemma, "nf4", tmp_path / "q")
    found = load_file(tmp_path / "q/model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    assert found[name].shape == (640 * 2048 // 2, 1)
    assert found[f"{name}.absmax"].shape == (640 * 2048 // 64,)
    ledger = ex.ledger(tmp_path / "q")
    assert ledger.parameters == change.parameters_after == 268_098_176
    lost = [each.relative_error for each in change.tensors if each.after == "nf4"]
    assert len(lost) == 18 * 7
    assert np.all((np.array(lost) > 0.05) & (np.array(lost) < 0.12))


@pytest.mark.thorough
def test_gemma_keeps_its_tokenizer(gemma: Path, tmp_path: Path):
    _, params = ex.load_pretrained(gemma)
    ex.save(params, tmp_path / "a.gguf", like=gemma, dtype="bfloat16")
    ours, theirs = (gguf.GGUFReader(each).fields for each in (tmp_path / "a.gguf", gemma))
    assert ours.keys() - {"general.quantization_version"} == theirs.keys() - {
        "general.quantization_version"
    }
    for key, field in theirs.items():
        if key.startswith(("tokenizer.", "gemma3.")):
            assert ours[key].contents() == field.contents()


def test_minilm_pruned_tuned_merged_and_extracted(tmp_path: Path):
    """`make conformance` loads the same folder with transformers: its outputs are equal."""
    module, pruned, merged, losses = tuned(MINILM)
    assert losses[-1] < losses[0] - 0.1
    changed = [t for t in ex.diff(pruned, merged).tensors if t.verdict != "identical"]
    assert len(changed) == 6 * 2  # queries and values; the other kernels are 2:4 as before
    assert {each.detail.partition(",")[0] for each in changed} == {f"rank {RANK}"}
    kernel = np.asarray(merged["layers_0"]["mlp"]["up_proj"]["kernel"])
    assert ((kernel.T.reshape(-1, 4) != 0).sum(1) <= 2).all()
    adapters, left = ex.extract_lora(merged, pruned, rank=RANK, model=module)
    assert left.relative_error is not None
    assert left.relative_error < 1e-5
    again, _ = ex.merge_lora(pruned, adapters)
    query = merged["layers_0"]["attention"]["query"]["kernel"]
    np.testing.assert_allclose(
        again["layers_0"]["attention"]["query"]["kernel"], query, atol=1e-5
    )
    ex.save(merged, tmp_path / "a", like=MINILM)
    ours, theirs = (
        load_file(path / "model.safetensors") for path in (tmp_path / "a", MINILM)
    )
    assert {n: a.shape for n, a in ours.items()} == {
        n: a.shape for n, a in theirs.items() if "position_ids" not in n
    }
    assert ex.diff(merged, tmp_path / "a").identical
