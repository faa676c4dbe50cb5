"""What the metadata of a GGUF file says of its layers."""

from typing import Any

import pytest

from explorer.architectures.resolve import resolve
from explorer.errors import InputError
from explorer.sizing.cache.amounts import cache_bytes, state_bytes
from explorer.sizing.cache.gguf_metadata import kept_of_gguf
from explorer.sizing.cache.layers import kept_of
from explorer.sizing.cache.terms import cache_terms
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Workload

MIB = 2**20
# as published files have them
GEMMA = {
    "context_length": 32768, "embedding_length": 640, "block_count": 18,
    "feed_forward_length": 2048, "attention.head_count": 4, "attention.key_length": 256,
    "attention.value_length": 256, "attention.sliding_window": 512,
    "attention.head_count_kv": 1,
}  # fmt: skip
QWEN = {
    "context_length": 262144, "embedding_length": 5120, "block_count": 64,
    "feed_forward_length": 17408, "attention.head_count": 24, "attention.head_count_kv": 4,
    "attention.key_length": 256, "attention.value_length": 256, "full_attention_interval": 4,
    "ssm.conv_kernel": 4, "ssm.state_size": 128, "ssm.group_count": 16,
    "ssm.inner_size": 6144,
}  # fmt: skip
DEEPSEEK = {
    "context_length": 163840, "embedding_length": 7168, "block_count": 61,
    "feed_forward_length": 18432, "attention.head_count": 128, "attention.head_count_kv": 1,
    "attention.key_length": 576, "attention.value_length": 512,
    "attention.key_length_mla": 192, "attention.value_length_mla": 128,
    "attention.kv_lora_rank": 512, "rope.dimension_count": 64, "expert_used_count": 8,
    "expert_feed_forward_length": 2048,
}  # fmt: skip
OSS = {
    "context_length": 131072, "embedding_length": 2880, "block_count": 24,
    "feed_forward_length": 2880, "attention.head_count": 64, "attention.head_count_kv": 8,
    "attention.key_length": 64, "attention.value_length": 64, "attention.sliding_window": 128,
    "expert_used_count": 4, "expert_feed_forward_length": 2880,
}  # fmt: skip


def metadata_of(name: str, keys: dict[str, Any]) -> dict[str, str]:
    own = {f"{name}.{key}": str(value) for key, value in keys.items()}
    return {"general.architecture": name, "tokenizer.ggml.tokens": "array of 9"} | own


@pytest.mark.parametrize(
    ("name", "keys", "published"),
    [
        ("gemma3", GEMMA, "gemma-3-270m"),
        ("deepseek2", DEEPSEEK, "deepseek-v3"),
        ("gpt-oss", OSS, "gpt-oss-20b"),
    ],
)
def test_a_file_keeps_what_its_architecture_keeps(
    name: str, keys: dict[str, Any], published: str
):
    model = resolve(published).architecture
    known = kept_of(model)
    kept = kept_of_gguf(metadata_of(name, keys), known.vocabulary)
    assert kept is not None
    assert (kept.positions, kept.hidden, kept.widest) == (
        known.positions,
        known.hidden,
        known.widest,
    )
    for workload in (
        Workload(engine="llama.cpp", context=5000),
        Workload(engine="llama.cpp", context=9000, parallel=3, kv_unified=True),
        Workload(engine="jax", context=700, batch=2, dtype="float16"),
        Workload(engine="llama.cpp", context=100, expand_latent=True),
    ):
        assert cache_bytes(kept, workload) == cache_bytes(model, workload)


def test_states_are_those_of_logs():
    """149.62 MiB: R 5.62 and S 144.00, in 48 of 64 layers."""
    kept = kept_of_gguf(metadata_of("qwen35", QWEN))
    assert kept is not None
    workload = Workload(engine="llama.cpp", context=24576)
    assert f"{state_bytes(kept, workload) / MIB:.2f}" == "149.62"
    assert f"{kept.recurrent[0].convolution * 48 * 4 / MIB:.2f}" == "5.62"
    keys = cache_bytes(kept, workload) - state_bytes(kept, workload)
    assert keys == 1536 * MIB


def test_a_layer_that_predicts_further_tokens_is_not_run():
    more = QWEN | {"block_count": 65, "nextn_predict_layers": 1}
    known = kept_of_gguf(metadata_of("qwen35", QWEN))
    assert kept_of_gguf(metadata_of("qwen35", more)) == known


def test_a_small_file_with_latent_attention_is_as_measured():
    """Two layers of these sizes: 9.00 MiB of keys, none of values, 64.01 MiB of buffer."""
    small = DEEPSEEK | {
        "block_count": 2, "embedding_length": 2048, "attention.head_count": 16,
        "feed_forward_length": 4096, "expert_used_count": 2, "expert_feed_forward_length": 512,
    }  # fmt: skip
    kept = kept_of_gguf(metadata_of("deepseek2", small), 4096)
    assert kept is not None
    workload = Workload(engine="llama.cpp", context=4096)
    terms = {t.name: t for t in cache_terms(kept, workload, Placement())}
    assert terms["kv_cache"].bytes == 9 * MIB
    assert terms["workspace"].bytes / MIB == pytest.approx(64.01, rel=0.005)


def test_older_files_of_latent_attention_have_the_keys_of_all_heads():
    older = {key: value for key, value in DEEPSEEK.items() if not key.endswith("_mla")} | {
        "attention.head_count_kv": 128,
        "attention.key_length": 192,
        "attention.value_length": 128,
    }
    kept = kept_of_gguf(metadata_of("deepseek2", older))
    assert kept is not None
    found = cache_bytes(kept, Workload(engine="llama.cpp", context=32768))
    assert f"{found / 2**30:.1f}" == "152.5"


@pytest.mark.parametrize("name", ["rwkv7", "jamba", "bert", "", "gemma4"])
def test_an_architecture_that_is_not_known(name: str):
    assert kept_of_gguf(metadata_of(name, GEMMA)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"attention.head_count_kv": "array of 18 int32"},
            "gemma3.attention.head_count_kv is",
        ),
        ({"block_count": 10**12}, "gemma3.block_count is"),
        ({"embedding_length": "-3"}, "gemma3.embedding_length is"),
        ({"attention.head_count": 0}, "gemma3.attention.head_count is 0"),
    ],
)
def test_a_wrong_key_is_one_line(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        kept_of_gguf(metadata_of("gemma3", GEMMA | change))
