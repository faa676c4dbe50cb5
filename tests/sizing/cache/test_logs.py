"""Caches against what engines print, to the printed digits."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from explorer.architectures.resolve import resolve
from explorer.sizing.cache.amounts import amounts_of, cache_bytes, plain
from explorer.sizing.cache.concurrency import concurrency
from explorer.sizing.cache.configs import kept_of_config
from explorer.sizing.cache.terms import cache_terms
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload

LOGS = msgspec.json.decode((Path(__file__).parent / "logs.json").read_bytes())["rows"]
FIGURES = {"keys", "gib", "bytes", "cells", "source", "model"}
MIB, GIB = 2**20, 2**30
# Qwen3.5-27B's sizes, as its config.json has them
QWEN = {
    "model_type": "qwen3_5_text", "dtype": "bfloat16", "num_hidden_layers": 64,
    "full_attention_interval": 4, "hidden_size": 5120, "num_attention_heads": 24,
    "num_key_value_heads": 4, "head_dim": 256, "linear_num_value_heads": 48,
    "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4, "intermediate_size": 17408, "vocab_size": 248320,
    "max_position_embeddings": 262144,
}  # fmt: skip


def workload_of(row: dict[str, Any]) -> Workload:
    return Workload(**{name: value for name, value in row.items() if name not in FIGURES})


def terms_of(model: Any, workload: Workload) -> dict[str, Term]:
    placement = Placement(mesh=workload.mesh)
    return {term.name: term for term in cache_terms(model, workload, placement)}


@pytest.mark.parametrize("row", LOGS, ids=lambda row: f"{row['model']}-{row['engine']}")
def test_a_cache_is_what_its_engine_prints(row: dict[str, Any]):
    model, workload = resolve(row["model"]).architecture, workload_of(row)
    term = terms_of(model, workload)["kv_cache"]
    for name, unit in (("keys", MIB), ("gib", GIB)):
        if name in row:
            digits = len(row[name].partition(".")[2])
            assert f"{term.on_device / unit:.{digits}f}" == row[name]
    if "bytes" in row:
        assert term.bytes == row["bytes"]
    if "cells" in row:
        assert [
            each.tokens for each in amounts_of(plain(model, workload), workload)
        ] == row["cells"]


def test_two_parts_of_latent_attention():
    """llama.cpp PR #11446: K^R 244.00 MiB + c^KV 1952.00 MiB."""
    model = resolve("deepseek-v3").architecture
    (kind,) = plain(model, Workload()).cached
    latent, rotary = (kind.layers * part * 32768 * 2 / MIB for part in kind.parts)
    assert (f"{latent:.2f}", f"{rotary:.2f}") == ("1952.00", "244.00")


@pytest.mark.parametrize(
    ("context", "slots", "keys", "states"),
    [
        (262144, 4, "16384.00", "598.50"),  # lmstudio-bug-tracker #1862
        (24576, 1, "1536.00", "149.62"),  # llama.cpp logs
        (8192, 1, "512.00", "149.62"),
    ],
)
def test_a_hybrid_model_keeps_keys_in_a_quarter_of_its_layers(
    context: int, slots: int, keys: str, states: str
):
    workload = Workload(
        engine="llama.cpp", context=context, parallel=slots, kv_unified=True
    )
    terms = terms_of(kept_of_config(QWEN), workload)
    assert f"{terms['kv_cache'].bytes / MIB:.2f}" == keys
    assert f"{terms['recurrent_state'].bytes / MIB:.2f}" == states
    assert not terms["kv_cache"].is_exact


def test_quantised_keys_of_a_hybrid_model():
    """A llama.cpp log: 6647.00 MiB in 200,192 cells of 16 layers, q8_0."""
    workload = Workload(engine="llama.cpp", context=200192, kv_dtype="q8_0")
    assert terms_of(kept_of_config(QWEN), workload)["kv_cache"].bytes == 6647 * MIB


@pytest.mark.parametrize(
    ("parts", "total"),
    [
        ({"window": 128, "context": 8192, "slots": 2}, "23.50"),
        ({"window": 128, "context": 8192, "slots": 2, "prompt": 1024}, "28.50"),
        ({"window": 1024, "context": 8192, "slots": 4}, "62.00"),
        ({"window": 1024, "context": 1000, "slots": 2}, "12.00"),
        ({"window": 128, "context": 300, "slots": 1}, "3.00"),
        ({"window": 1024, "context": 4096, "slots": 3, "kv_dtype": "q8_0"}, "18.33"),
    ],
)
def test_windows_of_gemma_on_llama_server(parts: dict[str, Any], total: str):
    """Logs of llama-server with two gemma3 models of 6 layers, 4 heads of 64 (llama-cpp-python
    0.3.35's sources, -c slots x context, -np slots)."""
    rest = {n: v for n, v in parts.items() if n not in ("window", "slots")}
    rest["context"] *= parts["slots"]
    config = {
        "model_type": "gemma3_text", "hidden_size": 256, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64,
        "intermediate_size": 64, "vocab_size": 64, "sliding_window": parts["window"],
        "sliding_window_pattern": 6,
    }  # fmt: skip
    workload = Workload(engine="llama.cpp", parallel=parts["slots"], **rest)
    found = cache_bytes(resolve(config).architecture, workload)
    assert f"{found / MIB:.2f}" == total


def test_tokens_that_vllm_prints_for_its_memory():
    """hf-mem issue #60: 5.38 GiB, 78,384 tokens, of gpt-oss-120b."""
    model = resolve("gpt-oss-120b").architecture
    workload = Workload(engine="vllm", context=4096)
    least, most = (
        concurrency(model, workload, int(gib * GIB)).tokens for gib in (5.375, 5.385)
    )
    assert least <= 78_384 <= most
    assert round(5.38 * GIB / 73_728) == 78_352


def test_vllm_tokens_of_one_of_four_devices():
    """vllm issue #21348: 8.11 GiB give 178,880 tokens by the smallest worker's memory."""
    model = resolve("qwen3-235b-a22b").architecture
    workload = Workload(engine="vllm", context=4096, mesh={"tensor": 4})
    found = concurrency(model, workload, int(8.11 * GIB), Placement(mesh={"tensor": 4}))
    assert found.tokens == 180_928  # 180,935 in whole pages
    assert 0.98 < 178_880 / found.tokens < 1


def test_concurrency_of_blocks():
    """vllm PR #13596: 127,626 blocks of 16 tokens are 997.08 sequences of 2,048."""
    model = resolve("llama-3.1-8b").architecture
    workload = Workload(engine="vllm", context=2048)
    block = cache_bytes(model, Workload(engine="vllm", context=16))
    found = concurrency(model, workload, 127_626 * block + block // 2)
    assert found.blocks == 127_626
    assert found.tokens == 2_042_016
    assert f"{found.sequences:.2f}" == "997.08"


def test_tokens_that_sglang_prints_for_its_memory():
    """vllm issue #21348: 367,404 tokens are K 8.23 + V 8.23 GiB on each of four GPUs."""
    model = resolve("qwen3-235b-a22b").architecture
    placement = Placement(mesh={"tensor": 4})
    workload = Workload(engine="sglang", context=32768, mesh={"tensor": 4})
    least, most = (
        concurrency(model, workload, int(gib * GIB), placement).tokens
        for gib in (2 * 8.225, 2 * 8.235)
    )
    assert least <= 367_404 <= most
