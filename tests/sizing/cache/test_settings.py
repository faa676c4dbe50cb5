"""Settings of a cache: dtypes, positions, and values that are refused."""

from typing import Any

import pytest

import explorer as ex
from explorer.architectures.catalog.entries import entries
from explorer.architectures.resolve import resolve
from explorer.errors import InputError
from explorer.sizing.cache.positions import cache_notes
from explorer.sizing.records import Workload


def kv(target: str, **settings: Any) -> Any:
    plan = ex.plan(target, **settings)
    return next(term for term in plan.terms if term.name == "kv_cache")


@pytest.mark.parametrize(
    ("engine", "kv_dtype", "num", "den"),
    [
        ("llama.cpp", "q8_0", 34, 32),
        ("llama.cpp", "q4_0", 18, 32),
        ("llama.cpp", "Q5_1", 24, 32),
        ("llama.cpp", "iq4_nl", 18, 32),
        ("llama.cpp", "f32", 4, 1),
        ("llama.cpp", None, 2, 1),
        ("llama.cpp", "q8_0/q4_0", 26, 32),
        ("vllm", "fp8", 1, 1),
        ("vllm", "fp8_e5m2", 1, 1),
        ("vllm", "auto", 2, 1),
        ("vllm", "nvfp4", 9, 16),
        ("sglang", "fp8_e4m3", 1, 1),
        ("sglang", "fp4_e2m1", 9, 16),
        ("jax", "int8", 1, 1),
        ("jax", "int4", 1, 2),
        ("jax", None, 2, 1),
    ],
)
def test_bytes_of_an_element(engine: str, kv_dtype: str | None, num: int, den: int):
    found = kv("llama-3.1-8b", context=1024, engine=engine, kv_dtype=kv_dtype).bytes
    assert found * den == 32 * 2 * 8 * 128 * 1024 * num


def test_a_quantised_model_keeps_its_cache_in_16_bits():
    found = kv("llama-3.1-8b", context=16, dtype="int8").bytes
    assert found == kv("llama-3.1-8b", context=16).bytes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "llama.cpp", "kv_dtype": "q8_O"}, "did you mean q8_0"),
        ({"engine": "llama.cpp", "kv_dtype": "fp8"}, "llama.cpp has no cache of 'fp8'"),
        ({"engine": "vllm", "kv_dtype": "q8_0"}, "vllm has no cache of 'q8_0'"),
        ({"engine": "sglang", "kv_dtype": "fp8_e4m"}, "did you mean fp8_e4m3"),
        ({"kv_dtype": "bfloat61"}, "did you mean bfloat16"),
        ({"kv_dtype": "float16/"}, "no cache of ''"),
        ({"kv_dtype": "/float16"}, "no cache of ''"),
        ({"kv_dtype": "float16/float16/int8"}, "no cache of 'float16/int8'"),
        ({"kv_dtype": 8}, "no cache of '8'"),
        ({"kv_dtype": "q8", "train": True}, "no cache of 'q8'"),
        ({"swa_full": "yes"}, "swa_full"),
        ({"kv_unified": 2}, "kv_unified"),
        ({"batch": 0}, "batch: is 0; expected at least 1"),
        ({"context": 0}, "context: is 0; expected at least 1"),
        ({"context": -5}, "context: is -5"),
        ({"parallel": 0}, "parallel: is 0"),
        ({"prompt": 0}, "prompt: is 0"),
    ],
)
def test_a_wrong_setting_is_one_line(settings: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message) as caught:
        ex.plan("gpt2", **settings)
    assert "\n" not in str(caught.value)


def test_heads_that_are_not_whole_blocks_are_refused():
    """Phi-2's heads have 80 elements; llama.cpp refuses its cache in q8_0 too."""
    with pytest.raises(InputError, match="keys of 80 elements are not blocks of q8_0"):
        ex.plan("phi-2", engine="llama.cpp", kv_dtype="q8_0")


def test_positions_are_those_of_the_configs():
    for entry in entries():
        found = resolve(entry.names[0]).architecture.positions
        said = entry.config.get("max_position_embeddings", entry.config.get("n_positions"))
        # RoBERTa's table has two rows before its first position
        before = 2 if entry.config["model_type"] == "roberta" else 0
        assert found == (said if said is None else said - before), entry.id


@pytest.mark.parametrize(
    ("name", "context", "beyond"),
    [
        ("gpt2", 1024, None),
        ("gpt2", 1025, "1,024"),
        ("roberta-base", 513, "512"),
        ("opt-125m", 2049, "2,048"),
        ("llama-2-7b", 8192, "4,096"),
        ("deepseek-v3", 163840, None),
        ("deepseek-v3", 163841, "163,840"),
        ("vit-base", 5000, None),
    ],
)
def test_a_context_beyond_the_positions_is_a_warning(
    name: str, context: int, beyond: str | None
):
    plan = ex.plan(name, context=context)
    warned = [line for line in plan.notes if "positions" in line]
    if beyond is None:
        assert not warned
    else:
        assert len(warned) == 1
        assert f"the {beyond} positions" in warned[0]


def test_the_default_context_is_at_most_the_positions():
    assert ex.plan("bert-base-uncased").workload.context == 512
    assert ex.plan("llama-3.1-8b").workload.context == 4096
    assert not cache_notes(resolve("gpt2").architecture, Workload())


@pytest.mark.parametrize("name", ["bert-base-uncased", "vit-base", "all-minilm-l6-v2"])
def test_encoders_keep_nothing(name: str):
    for engine in ("jax", "llama.cpp", "vllm", "sglang"):
        term = kv(name, engine=engine, batch=4)
        assert term.bytes == 0
        assert "not causal" in term.note


def test_the_arithmetic_is_in_the_note():
    note = kv("deepseek-v3", context=32768, engine="vllm").note
    assert note == "61 layers x (512 + 64) x 32,768 tokens x 2 B"
    note = kv("gemma-3-270m", context=4096, engine="llama.cpp", parallel=2).note
    assert note == (
        "15 layers x 2 x 1 x 256 x 2,048 cells (window 512) x 2 B + "
        "3 layers x 2 x 1 x 256 x 4,096 cells x 2 B"
    )


def test_vllm_without_a_say_has_the_hybrid_manager_as_its_low():
    own = kv("gpt-oss-20b", context=8192, batch=32, engine="vllm")
    hybrid = kv("gpt-oss-20b", context=8192, batch=32, engine="vllm", swa_full=False)
    full = kv("gpt-oss-20b", context=8192, batch=32, engine="vllm", swa_full=True)
    assert own.low == hybrid.bytes < own.bytes == own.high == full.bytes
    assert (own.is_exact, hybrid.is_exact, full.is_exact) == (False, True, True)
