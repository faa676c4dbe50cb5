"""Bounds of whole models: measured runs are slower, and the bytes are those that were measured."""

import json

import pytest

import explorer as ex
from explorer.sizing.devices.catalog import find_device
from tests.cli.in_process import printed

LLAMA = 6_738_415_616
TABLE = 32_000 * 4096  # of tokens, of which a step reads one row


def test_bytes_of_a_step_are_those_that_were_measured():
    """gpt-fast README, A100-80GB: 104.9 tokens/s at 1397 GB/s; torchao: 107.38 at 1418.93.

    gpt-fast counts a cache of 208 tokens among the weights; torchao counts none.
    """
    weights = 2 * (LLAMA - TABLE)
    cache = 208 * 32 * 2 * 4096 * 2
    assert 104.9 * (weights + cache) / 1e9 == pytest.approx(1397, abs=1)
    assert 107.38 * weights / 1e9 == pytest.approx(1418.93, rel=1e-4)
    plan = ex.plan("llama-2-7b", device="a100", context=208, dtype="bfloat16")
    bound = plan.decode_tokens_per_second
    assert bound is not None
    assert bound == pytest.approx(2039e9 / (weights + cache), rel=1e-4)
    assert bound > 107.38 > 0.6 * bound


@pytest.mark.parametrize(
    ("target", "settings", "device", "measured"),
    [
        # gpt-fast README, one A100-80GB at 330 W
        ("llama-2-7b", {"quantize": "int8"}, "a100", 155.58),
        ("llama-2-70b", {"quantize": "int8"}, "a100", 19.13),
        ("llama-2-7b", {"quantize": "int4:g32"}, "a100", 196.80),
        ("llama-2-70b", {"quantize": "int4:g32"}, "a100", 25.25),
        ("llama-2-70b", {"dtype": "bfloat16"}, "a100:2", 21.32),
        ("llama-2-70b", {"dtype": "bfloat16"}, "a100:4", 38.01),
        ("llama-2-70b", {"dtype": "bfloat16"}, "a100:8", 62.50),
    ],
)
def test_measured_runs_are_slower(target, settings, device, measured):
    plan = ex.plan(target, device=device, context=208, **settings)
    assert plan.decode_tokens_per_second is not None
    assert plan.decode_tokens_per_second > measured


def test_trained_tokens_are_fewer_than_the_bound():
    """mosaicml/llm-foundry: MPT-7B with 10,643 tokens/s on an H100, 46.44% of the peak.

    A LLaMA of about its size needs about its operations.
    """
    plan = ex.plan("llama-2-7b", train=True, device="h100", context=2048)
    assert plan.speed is not None
    assert plan.speed.train_tokens_per_second == pytest.approx(10_643 / 0.4644, rel=0.02)


def test_batches_share_the_weights():
    one = ex.plan("llama-2-7b", device="h100", batch=1).decode_tokens_per_second
    many = ex.plan("llama-2-7b", device="h100", batch=16).decode_tokens_per_second
    assert one is not None
    assert many is not None
    assert one < many < 16 * one
    slots = ex.plan("llama-2-7b", device="h100", engine="llama.cpp", batch=1, parallel=4)
    assert slots.decode_tokens_per_second is not None
    assert slots.decode_tokens_per_second > one


def test_a_mixture_reads_its_active_experts():
    """Mixtral: 2 of 8 experts; with many sequences all of them are read."""
    h200 = find_device("h200")

    def read(batch: int) -> float:
        plan = ex.plan("mixtral-8x7b", device="h200", batch=batch, context=1)
        assert plan.decode_tokens_per_second is not None
        return batch * h200.bandwidth / plan.decode_tokens_per_second

    active, every = 2 * 12_879_925_248, 2 * 46_702_792_704
    table = 2 * 32_000 * 4096
    assert read(1) == pytest.approx(active - table, rel=1e-3)
    assert read(64) == pytest.approx(every - table, rel=1e-3)


def test_copies_read_all_weights_each():
    """Over "data" every device reads the whole model, over "tensor" its part."""
    split = ex.plan("llama-2-7b", device="h100:4", mesh={"tensor": 4}, batch=4)
    copied = ex.plan("llama-2-7b", device="h100:4", mesh={"data": 4}, batch=4)
    assert split.decode_tokens_per_second is not None
    assert copied.decode_tokens_per_second is not None
    assert split.decode_tokens_per_second > copied.decode_tokens_per_second
    alone = ex.plan("llama-2-7b", device="h100").decode_tokens_per_second
    assert alone is not None
    assert copied.decode_tokens_per_second == pytest.approx(4 * alone, rel=1e-3)


def test_two_figures_for_prompts():
    speed = ex.plan("llama-2-7b", device="h100", context=2048).speed
    assert speed is not None
    assert speed.prefill_seconds is not None
    assert speed.prefill_seconds_measured is not None
    ratio = speed.prefill_seconds_measured / speed.prefill_seconds
    assert ratio == pytest.approx(989.4 / 794.5)
    # 2 N operations a token, and 4 L H Q over half of the context
    flops = 2048 * (2 * (LLAMA - TABLE) + 4 * 32 * 4096 * 1024)
    assert speed.prefill_seconds == pytest.approx(flops / 989.4e12, rel=1e-3)


def test_cost_of_tokens_and_of_training():
    words = ("llama-2-7b", "--train", "--device", "h100:8", "--tokens", "1000000000")
    plan = json.loads(printed("plan", *words, "--price", "2", "--format", "json"))
    cost, speed = plan["cost"], plan["speed"]
    assert cost["price_source"] == "given"
    hours = 10**9 * speed["training_flops_per_token"] / (8 * 989.4e12) / 3600
    assert cost["seconds"] == pytest.approx(3600 * hours)
    assert cost["device_hours"] == pytest.approx(8 * hours)
    assert cost["dollars"] == pytest.approx(16 * hours)
    assert cost["kilowatt_hours"] == pytest.approx(8 * hours * 0.7)
    assert cost["dollars_per_million_tokens"] * 1000 == pytest.approx(cost["dollars"])
    assumed = ex.plan("llama-2-7b", device="h100").cost
    assert assumed["price_source"].startswith("assumed (RunPod, 2026")
    assert ex.plan("llama-2-7b", device="tpu-v6e").cost == {}


def test_what_is_not_known_is_not_given():
    laptop = ex.plan("llama-2-7b", device="laptop-16gb", quantize="int8")
    assert laptop.prefill_seconds is None  # no peak of a processor is known
    assert laptop.decode_tokens_per_second is not None
    encoder = ex.plan("bert-base-uncased", device="h100")
    assert encoder.decode_tokens_per_second is None
    assert encoder.prefill_seconds is not None
    assert ex.plan("llama-2-7b").speed is None
