"""peft's adapters of embeddings: A [rank, vocabulary], B [size, rank], with or without the table.

What peft 0.21 writes and merges is checked by these formulas of its own (tuners/lora/layer.py,
Embedding.get_delta_weight): scale * (B A)^T.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import explorer as ex
from tests.cli.in_process import run
from tests.pretrained.test_round_trip import CONFIGS
from tests.pretrained.tiny import checkpoint

LLAMA = CONFIGS["meta-llama/Llama-2-7b-hf"] | {"torch_dtype": "float32"}
TABLE = "model.embed_tokens.weight"


@pytest.mark.parametrize("with_table", [False, True])
def test_merged_as_peft_does(with_table: bool, tmp_path: Path):
    tensors = checkpoint(LLAMA)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
    save_file(tensors, base / "model.safetensors")
    (base / "config.json").write_text(json.dumps(LLAMA))
    rows, size = tensors[TABLE].shape
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, rows)).astype("float32")
    b = rng.normal(size=(size, 2)).astype("float32")
    stem = "base_model.model.model.embed_tokens"
    stored = {f"{stem}.lora_embedding_A": a, f"{stem}.lora_embedding_B": b}
    if with_table:
        stored[f"{stem}.base_layer.weight"] = tensors[TABLE]
    save_file(stored, adapter / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["embed_tokens"],
    }
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    done = run("lora", "merge", base, adapter, "-o", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    merged = load_file(tmp_path / "new" / "model.safetensors")
    expected = tensors[TABLE].astype(float) + 2 * (b.astype(float) @ a.astype(float)).T
    np.testing.assert_allclose(merged[TABLE], expected, rtol=1e-5, atol=1e-5)
    for name in tensors.keys() - {TABLE}:
        np.testing.assert_array_equal(merged[name], tensors[name])
    shown = run("lora", "show", adapter)
    assert "embed_tokens" in shown.stdout
    model, params = ex.load_pretrained(base)
    adapters = ex.load_lora(adapter, params, model=model)
    applied = ex.apply_lora(params, adapters)["embed"]["embedding"]
    np.testing.assert_allclose(applied, expected, rtol=1e-5, atol=1e-5)
