"""Formulas of speed and cost against figures that were published."""

import pytest

from explorer.sizing.devices.catalog import find_device
from explorer.sizing.meshes.table import slices_of
from explorer.sizing.speed.formulas import (
    critical_batch,
    decode_seconds,
    dollars,
    expected_share,
    kilowatt_hours,
    mfu,
    roofline_seconds,
    train_flops,
    training_seconds,
)


def mpt(size: int, layers: int, vocab: int = 50_368, positions: int = 2048) -> int:
    """Return the parameters of an MPT with biases and learned positions."""
    block = 12 * size * size + 13 * size
    return (vocab + positions) * size + layers * block + 2 * size


@pytest.mark.parametrize(
    ("size", "layers", "rate", "published"),
    [
        (2048, 24, 45_455, 41.82),
        (4096, 32, 10_643, 46.44),
        (5120, 40, 4_792, 39.79),
        (8192, 80, 1_039, 42.57),
    ],
)
def test_mfu_of_mpt_on_h100(size: int, layers: int, rate: int, published: float):
    """mosaicml/llm-foundry scripts/train/benchmarking/README.md: bf16, 2,048 tokens, 989.5e12.

    The rates are printed without decimals, of which half a token a second is left open.
    """
    found = mfu(rate, mpt(size, layers), layers * size, 2048, 989.5e12)
    assert 100 * found == pytest.approx(published, abs=0.005 + published / rate / 2)


def test_mfu_of_palm():
    """Chowdhery et al., PaLM (2022), appendix B: 46.2%, and 45.7% without attention."""
    each = 238_300 / 6144
    width = 118 * 48 * 256
    assert round(100 * mfu(each, 540_350_000_000, width, 2048, 275e12), 1) == 46.2
    assert round(100 * mfu(each, 540_350_000_000, 0, 2048, 275e12), 1) == 45.7


@pytest.mark.parametrize(
    ("batch", "heads", "milliseconds"),
    [
        (1, 40, 4.98), (8, 40, 12.13), (32, 40, 36.65), (240, 40, 249.09),
        (1, 8, 4.17), (8, 8, 5.60), (32, 8, 10.50), (240, 8, 52.99),
    ],
)  # fmt: skip
def test_steps_of_llama_2_13b(batch: int, heads: int, milliseconds: float):
    """Austin et al., How to Scale Your Model, "Inference": 8,192 tokens on eight v5e."""
    cache = 2 * 40 * heads * 128 * 2 * 8192
    seconds = decode_seconds(26e9 + batch * cache, 8 * 8.2e11)
    assert 1000 * seconds == pytest.approx(milliseconds, rel=2e-3)


def test_llama_3_70b_on_eight_v5e():
    """The same book, "Applied inference": int8, 32 sequences of 8,192 tokens."""
    nbytes = 70e9 + 32 * 8192 * 163_840
    assert nbytes / 1e9 == pytest.approx(112, abs=1)
    seconds = decode_seconds(nbytes, 8 * 8.2e11)
    assert round(1000 * seconds) == 17
    assert round(32 / 0.017 / 8) == 235
    assert round(critical_batch(1.97e14, 8.2e11, 2)) == 240
    assert round(critical_batch(1.97e14, 8.2e11, 1)) == 120


@pytest.mark.parametrize(("bits", "slice_"), [(16, 16), (8, 8), (4, 4)])
def test_smallest_v5e_slices_of_70b(bits: int, slice_: int):
    weights = 70e9 * bits / 8
    assert next(n for n in slices_of("tpu") if n * 16e9 > weights) == slice_


def test_a_full_v5e_slice():
    """The book's bf16 column: 116 GB for caches, 43 of 8,192 tokens, .27 requests/s a chip."""
    left = 16 * 16e9 - 140e9
    assert round(left / 1e9) == 116
    caches = int(left / (8192 * 327_680))
    assert caches == 43
    step = decode_seconds(16e9, 8.2e11)
    assert round(caches / (512 * step) / 16, 2) == 0.27


@pytest.mark.parametrize(
    ("parameters", "tokens", "published"),
    [
        (175e9, 300e9, 3.14e23),  # GPT-3
        (70e9, 1.4e12, 5.76e23),  # Chinchilla
        (405e9, 15.6e12, 3.8e25),  # Llama 3.1 405B
    ],
)
def test_training_operations(parameters: float, tokens: float, published: float):
    flops = train_flops(int(parameters), 0, 0) * tokens
    assert flops == pytest.approx(published, rel=0.021)


def test_deepseek_v3():
    """The DeepSeek-V3 report: 2.788M H800 hours at $2; the book's question 7: 21.7% of fp8."""
    seconds = 2_788_000 * 3600
    assert dollars(seconds, 1, 2.0) == pytest.approx(5.576e6)
    peak = 1513e12
    least = training_seconds(int(14.8e12), train_flops(int(37e9), 0, 0), 1, peak)
    assert least / seconds == pytest.approx(0.217, abs=1e-3)


def test_a_roofline_is_the_slower_of_two():
    assert roofline_seconds(10, 1, 1, 1) == 10
    assert roofline_seconds(1, 1, 10, 1) == 10
    assert roofline_seconds(10, 0, 1, 1) == 1  # of an unknown bandwidth nothing is said


def test_adapters_save_the_gradients_of_frozen_weights():
    full = train_flops(10**9, 1000, 2048)
    assert train_flops(10**9, 1000, 2048, trainable=10**9) == full + 4 * 10**9
    assert train_flops(10**9, 1000, 2048, trainable=0) == full - 2 * 10**9


def test_expected_experts_by_counting():
    """Of 4 experts, 1 picked by each of 3 tokens: the mean number over all 64 ways."""
    ways = [{a, b, c} for a in range(4) for b in range(4) for c in range(4)]
    mean = sum(map(len, ways)) / len(ways) / 4
    assert expected_share(1, 4, 3) == pytest.approx(mean)


def test_energy():
    assert kilowatt_hours(7200, 2, find_device("h100").watts or 0) == 2.8
