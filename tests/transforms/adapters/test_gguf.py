"""Adapters in GGUF files, written by the `gguf` package as llama.cpp's converter lays them out."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import explorer as ex
from explorer.errors import InputError
from explorer.transforms.adapters.peft_files import StoredAdapters, read_peft
from explorer.transforms.adapters.peft_trees import adapters_of
from explorer.transforms.adapters.trees import ParameterLeaves
from tests.cli.in_process import printed
from tests.conformance.adapters import MODELS
from tests.transforms.adapters import goldens

gguf = pytest.importorskip("gguf")
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def halves_interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Return rows in the order of convert_hf_to_gguf.py's LlamaModel.permute."""
    grouped = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return grouped.swapaxes(1, 2).reshape(rows.shape)


def write(path: Path, stored: StoredAdapters, kind: str = "adapter") -> Path:
    """Write adapters of a Llama as convert_lora_to_gguf.py does."""
    config: Any = MODELS["llama"][0]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type(kind)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(stored.config.lora_alpha))
    for module, each in stored.modules.items():
        layer, _, name = module.removeprefix("model.layers.").partition(".")
        b = each.b
        if name.endswith(("q_proj", "k_proj")):
            b = halves_interleaved(b, heads if "q_proj" in name else kv_heads)
        place = f"blk.{layer}.{NAMES[name]}.weight"
        writer.add_tensor(f"{place}.lora_a", np.ascontiguousarray(each.a))
        writer.add_tensor(f"{place}.lora_b", np.ascontiguousarray(b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path, StoredAdapters]:
    base = goldens.base_folder("llama", tmp_path / "base")
    stored = read_peft(str(goldens.adapter_folder("llama", "lora", tmp_path / "peft")))
    # llama.cpp has one alpha, and no place for what is trained whole
    alpha = stored.config.lora_alpha
    modules = {name: each for name, each in stored.modules.items() if each.alpha == alpha}
    stored = stored._replace(saved={}, modules=modules)
    return base, write(tmp_path / "adapter.gguf", stored), stored


def test_they_are_those_of_the_folder_that_they_were_made_of(made: Any, tmp_path: Path):
    base, file, stored = made
    module, params = ex.load_pretrained(base)
    ours = ex.load_lora(file, params, model=module)
    theirs = adapters_of(stored, ParameterLeaves(params), module.architecture)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    merged = printed("lora", "merge", base, file, "-o", tmp_path / "merged")
    assert f"{len(stored.modules)} tensors merged" in merged
    found = load_file(tmp_path / "merged" / "model.safetensors")
    wanted = goldens.part("llama", "lora/merged/")
    assert len(stored.modules) > 2
    for name in stored.modules:
        np.testing.assert_array_equal(found[f"{name}.weight"], wanted[f"{name}.weight"])


def test_they_are_shown_and_counted(made: Any):
    _, file, stored = made
    text = printed("lora", "show", file)
    assert f"{stored.parameters:,} parameters" in text
    assert ex.explore(file).num_parameters == stored.parameters
    shown = printed("show", file)
    assert "LoRA adapters" in shown.splitlines()[0]
    assert f"{stored.parameters:,} trainable parameters" in " ".join(shown.split())


def test_a_file_of_a_model_is_refused(made: Any, tmp_path: Path):
    base, _, stored = made
    module, params = ex.load_pretrained(base)
    other = write(tmp_path / "model.gguf", stored, "model")
    with pytest.raises(InputError) as caught:
        ex.load_lora(other, params, model=module)
    assert "general.type is model; expected a file of LoRA adapters" in str(caught.value)
