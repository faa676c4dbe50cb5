"""What a config says of layers that explorer has no architecture for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.sizing.cache.amounts import cache_bytes, state_bytes
from explorer.sizing.cache.configs import kept_of_config, unknown_cache
from explorer.sizing.records import Workload
from explorer.sizing.subject import Subject
from tests.sizing.cache.test_logs import QWEN

HEADS = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
STATES = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 32, "mamba_d_conv": 4}
# config, context -> elements of keys and values of one sequence, elements of its states; by hand
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "qwen3_next": (
        QWEN | {"model_type": "qwen3_next"},
        16 * 2 * 4 * 256 * 1000,
        48 * (3 * 10240 + 48 * 128 * 128),
    ),
    "mamba2": (
        {"num_hidden_layers": 3, "hidden_size": 64, "num_heads": 8, "head_dim": 16,
         "state_size": 32, "n_groups": 2, "conv_kernel": 4},
        0,
        3 * (3 * (128 + 2 * 2 * 32) + 128 * 32),
    ),
    "jamba": (
        HEADS | {"num_hidden_layers": 16, "mamba_d_conv": 4, "mamba_d_state": 16,
                 "mamba_expand": 2, "attn_layer_period": 8, "attn_layer_offset": 4},
        2 * 2 * 2 * 16 * 1000,
        14 * (3 * 128 + 128 * 16),
    ),
    "granitemoehybrid": (
        HEADS | STATES | {"num_hidden_layers": 3, "mamba_n_groups": 1,
                          "layer_types": ["mamba", "attention", "mamba"]},
        2 * 2 * 16 * 1000,
        2 * (3 * (128 + 64) + 128 * 32),
    ),
    "bamba": (
        HEADS | STATES | {"num_hidden_layers": 3, "mamba_n_groups": 1, "mamba_d_head": "auto",
                          "attn_layer_indices": [1]},
        2 * 2 * 16 * 1000,
        2 * (3 * (128 + 64) + 128 * 32),
    ),
    "falcon_h1": (
        HEADS | STATES | {"num_hidden_layers": 3, "head_dim": 32},
        3 * 2 * 2 * 32 * 1000,
        3 * (3 * (128 + 64) + 128 * 32),
    ),
    "nemotron_h": (
        HEADS | {"hybrid_override_pattern": "M-M*-E", "mamba_num_heads": 8,
                 "mamba_head_dim": 16, "n_groups": 1, "ssm_state_size": 32},
        2 * 2 * 16 * 1000,
        2 * (3 * (128 + 64) + 128 * 32),
    ),
    "recurrent_gemma": (
        HEADS | {"num_hidden_layers": 7, "head_dim": 16, "attention_window_size": 100},
        2 * 2 * 2 * 16 * 100,
        5 * (3 * 64 + 64),
    ),
    "lfm2": (
        HEADS | {"num_hidden_layers": 3, "layer_types": ["conv", "conv", "full_attention"]},
        2 * 2 * 16 * 1000,
        2 * 2 * 64,
    ),
    "gemma3n_text": (
        HEADS | {"num_hidden_layers": 5, "num_kv_shared_layers": 2, "sliding_window": 100,
                 "layer_types": ["sliding_attention", "sliding_attention", "full_attention",
                                 "sliding_attention", "full_attention"]},
        2 * 2 * 16 * (2 * 100 + 1000),
        0,
    ),
    "cohere2": (
        HEADS | {"num_hidden_layers": 8, "sliding_window": 100, "sliding_window_pattern": 4},
        2 * 2 * 16 * (6 * 100 + 2 * 1000),
        0,
    ),
    "granite": (HEADS | {"num_hidden_layers": 8}, 8 * 2 * 2 * 16 * 1000, 0),
    "t5": ({"num_layers": 6, "num_heads": 8, "d_kv": 64}, 2 * 6 * 2 * 512 * 1000, 0),
    "whisper": (
        {"decoder_layers": 4, "decoder_attention_heads": 6, "d_model": 384},
        4 * 2 * 384 * (1000 + 1500),
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", CASES)
def test_layers_of_a_config(family: str):
    config, keys, states = CASES[family]
    kept = kept_of_config({"dtype": "float32", **config, "model_type": family})
    assert kept is not None
    assert not kept.provenance.startswith("exact")
    workload = Workload(context=1000, dtype="float32")
    assert state_bytes(kept, workload) == 4 * states
    assert cache_bytes(kept, workload) == 4 * (keys + states)
    doubled = Workload(context=1000, dtype="float32", batch=2)
    assert cache_bytes(kept, doubled) == 8 * (keys + states)


@pytest.mark.parametrize("family", CASES)
def test_states_do_not_grow(family: str):
    config, _, states = CASES[family]
    kept = kept_of_config({**config, "model_type": family})
    assert kept is not None
    for engine in ("jax", "llama.cpp", "vllm", "sglang"):
        sizes = {
            state_bytes(kept, Workload(engine=engine, context=context))
            for context in (1, 10_000)
        }
        assert len(sizes) == 1
        assert (sizes == {0}) == (states == 0)


def test_a_text_model_inside_another():
    outer = {"model_type": "qwen3_5", "text_config": QWEN}
    assert kept_of_config(outer) == kept_of_config(QWEN)


@pytest.mark.parametrize("family", ["rwkv", "deepseek_v32", "minimax", None, 3])
def test_a_family_that_is_not_known_says_so(family: Any):
    config = HEADS | {"model_type": family, "num_hidden_layers": 2}
    assert kept_of_config(config) is None
    line = unknown_cache(Subject("x", ex.explore({"w": np.ones(2)}), None, config))
    assert "not known" in line
    assert (f"of {family} " in line) == isinstance(family, str)


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("lfm2", {"layer_types": ["conv"]}, "3 of conv, full_attention, one per layer"),
        (
            "nemotron_h",
            {"hybrid_override_pattern": "MX"},
            "hybrid_override_pattern is 'MX'",
        ),
        ("bamba", {"attn_layer_indices": [3]}, "a list of 0 to 2"),
        ("gemma3n_text", {"num_kv_shared_layers": 5}, "num_kv_shared_layers is 5"),
        ("mamba2", {"num_heads": None}, "num_heads is missing"),
        ("recurrent_gemma", {"block_types": ["other"]}, "block_types is"),
        ("granite", {"num_hidden_layers": -1}, "num_hidden_layers is -1"),
    ],
)
def test_a_wrong_field_is_one_line(family: str, change: dict[str, Any], message: str):
    config = CASES[family][0] | change | {"model_type": family}
    with pytest.raises(InputError, match=message) as caught:
        kept_of_config(config)
    assert "\n" not in str(caught.value)


def folder_of(path: Path, config: dict[str, Any] | None) -> str:
    save_file({"layer.weight": np.zeros((4, 4), np.float32)}, path / "model.safetensors")
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return str(path)


def test_a_checkpoint_of_a_hybrid_model_is_planned_by_its_config(tmp_path: Path):
    plan = ex.plan(folder_of(tmp_path, QWEN), context=1000, engine="llama.cpp")
    terms = {term.name: term for term in plan.terms}
    assert terms["recurrent_state"].bytes == CASES["qwen3_next"][2] * 4
    assert "48 layers x (30,720 float32 + 786,432 float32) x 1 sequence" in (
        terms["recurrent_state"].note
    )
    left_out = ("fragmentation of the allocator, other programs, offloading to the host",)
    assert plan.not_modelled == left_out  # of every plan, and nothing of the cache


@pytest.mark.parametrize(
    "config",
    [None, {"model_type": "rwkv"}, {"hidden_size": 3}, {"model_type": "mamba2"}],
)
def test_a_checkpoint_that_nothing_is_known_of(tmp_path: Path, config: Any):
    plan = ex.plan(folder_of(tmp_path, config))
    assert [term.name for term in plan.terms] == ["parameters", "reserve"]
    assert any("not known" in line for line in plan.not_modelled)


def test_a_broken_config_of_a_known_family_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="n_embd is missing"):
        ex.plan(folder_of(tmp_path, {"model_type": "gpt2"}))
