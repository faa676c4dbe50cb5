"""Rounding and sums have the bits that C's have."""

import numpy as np
import pytest

from explorer.transforms.quantisation.ggml.arithmetic import (
    largest,
    nearest,
    ordered_sum,
    round_away,
    to_int8,
)
from explorer.transforms.quantisation.ggml.packing import pack, unpack


@pytest.mark.parametrize("lanes", [1, 2, 3, 7, 8, 9, 64, 1000])
@pytest.mark.parametrize("number", [1, 8, 16, 32, 256])
def test_sums_are_taken_row_after_row(number: int, lanes: int):
    terms = np.random.default_rng(lanes).standard_normal((number, lanes)).astype(np.float32)
    total = np.zeros(lanes, np.float32)
    for row in terms:
        total = total + row
    assert np.array_equal(ordered_sum(terms), total)


def test_whole_numbers_are_nearest_with_halves_to_even():
    x = np.random.default_rng(0).uniform(-4e6, 4e6, 10_000).astype(np.float32)
    halves = np.arange(-1000, 1000, dtype=np.float32) + np.float32(0.5)
    for each in (x, halves, x / np.float32(4096)):
        assert np.array_equal(nearest(each), np.rint(each).astype(np.int32))


def test_beyond_the_trick_nearest_is_what_c_leaves():
    odd = np.array([np.inf, -np.inf, np.nan, 1e30], np.float32)
    with np.errstate(invalid="ignore"):
        bits = (odd + np.float32(12582912)).view(np.int32)
    assert np.array_equal(nearest(odd), (bits & 0x7FFFFF) - 0x400000)
    assert nearest(odd)[:3].tolist() == [-0x400000, -0x400000, 0]


def test_halves_are_rounded_away_from_zero():
    x = np.array([0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 8388607.5, 3e9], np.float32)
    assert round_away(x).tolist() == [1, -1, 2, 3, -3, 0, 8388608, np.float32(3e9)]


def test_conversion_to_a_byte_keeps_the_low_one():
    x = np.array([15.9, -1.5, 200, np.inf, np.nan], np.float32)
    assert to_int8(x).tolist() == [15, -1, -56, 0, 0]


def test_the_first_of_the_largest_is_taken_with_its_sign():
    x = np.array([[1, -0.0, np.nan], [-2, 0, 1], [2, -0.0, -3]], np.float32)
    size, value = largest(x)
    assert size.tolist() == [2, 0, 3]
    assert value.tolist() == [-2, 0, -3]
    assert not np.signbit(value[1])


@pytest.mark.parametrize(("bits", "span"), [(1, 256), (2, 16), (2, 128), (4, 2), (4, 64)])
def test_packing_is_undone(bits: int, span: int):
    levels = np.random.default_rng(bits).integers(0, 2**bits, (5, 256)).astype(np.uint8)
    packed = pack(levels, bits, span)
    assert packed.shape == (5, 256 * bits // 8)
    assert np.array_equal(unpack(packed, bits, span), levels)
