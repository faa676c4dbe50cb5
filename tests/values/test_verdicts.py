"""How one array became another: each verdict on what it is about, and on what only looks like it."""

from collections.abc import Callable

import gguf
import ml_dtypes
import numpy as np
import pytest

from explorer.formats.gguf import StoredBlocks
from explorer.values.diff import ArrayPair, difference_of
from explorer.values.gguf_levels import levels_of_blocks
from explorer.values.rank import rank_of_change
from explorer.values.rounding import rounded_to
from explorer.values.verdicts import Levels, is_nearest_level, permuted_axis

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((300, 200)).astype(np.float32)


def verdict(a: np.ndarray, b: np.ndarray) -> str:
    pair = ArrayPair("x", "x", "x", a.dtype.name, b.dtype.name, a, b)
    return difference_of(pair).verdict


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_rounding_in_both_directions(dtype: type):
    narrow = MATRIX.astype(dtype)
    name = np.dtype(dtype).name
    for a, b in (
        (MATRIX, narrow),
        (narrow, MATRIX),
        (MATRIX, narrow.astype(np.float32)),
        (narrow.astype(np.float32), MATRIX),
    ):
        assert rounded_to(a, b) == name
        assert verdict(a, b) == "rounding"


def test_a_cut_bfloat16_is_rounded_too():
    cut = (MATRIX.view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert not np.array_equal(cut, MATRIX.astype(ml_dtypes.bfloat16).astype(np.float32))
    assert rounded_to(MATRIX, cut) == "bfloat16"


def test_formats_of_eight_bits_and_doubles():
    assert rounded_to(MATRIX, MATRIX.astype(ml_dtypes.float8_e4m3fn)) == "float8_e4m3fn"
    assert rounded_to(MATRIX.astype(np.float64) * 1.1, (MATRIX.astype(np.float64) * 1.1).astype(np.float32)) == "float32"  # fmt: skip


def test_one_number_that_is_not_rounded():
    b = MATRIX.astype(ml_dtypes.bfloat16)
    b[7, 3] = np.float32(b[7, 3]) * 1.02
    assert rounded_to(MATRIX, b) == ""
    assert verdict(MATRIX, b) == "different"


ONES = np.ones(768, np.float32)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.float32([0.0, 1.0]), np.float32([-0.0, 1.0])),
        (np.float64([-0.0, 1.001]), np.float64([0.0, 1.0])),
        (np.where(np.arange(768) == 99, np.float32(1.003), ONES), ONES),
        (ONES, np.where(np.arange(768) == 99, np.float32(1.003), ONES)),
        (0 * ONES, np.float32(1e-9) * MATRIX[0, :1]),
        (np.float32(1e-9) * MATRIX[:4], 0 * MATRIX[:4]),
    ],
)
def test_what_was_not_rounded(a: np.ndarray, b: np.ndarray):
    b = np.broadcast_to(b, a.shape).copy()
    assert rounded_to(a, b) == ""
    assert verdict(a, b) == "different"


def test_overflow_is_not_rounding():
    big = np.float32([1.0, 1e6])
    with np.errstate(over="ignore"):
        narrow = big.astype(np.float16)
    assert rounded_to(big, narrow) == ""


def test_equal_numbers_of_two_formats():
    exact = np.arange(64, dtype=np.float32)
    assert verdict(exact, exact.astype(np.float16)) == "rounding"
    assert verdict(exact, exact) == "identical"


def test_negative_zero_and_nan_are_compared_by_bits():
    assert verdict(np.float32([0.0]), np.float32([-0.0])) != "identical"
    nan = np.float32([np.nan, 1])
    assert verdict(nan, nan.copy()) == "identical"
    pair = ArrayPair("x", "x", "x", "float32", "float32", nan, nan[::-1].copy())
    assert difference_of(pair).gaps == 2


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int8, np.float64])
def test_another_order(axis: int, dtype: type):
    a = (RNG.standard_normal((24, 30, 8)) * 50).astype(dtype)
    b = np.take(a, RNG.permutation(a.shape[axis]), axis)
    assert permuted_axis(a, b) == axis
    assert verdict(a, b) == "permuted"
    b[0, 0, 0] = b[1, 1, 1]
    assert permuted_axis(a, b) is None


def test_sorted_elements_are_another_order_and_sums_are_not_enough():
    vector = RNG.standard_normal(100).astype(np.float32)
    assert permuted_axis(vector, np.sort(vector)) == 0
    # the same numbers in each column, but in no common order of rows
    assert permuted_axis(MATRIX, RNG.permuted(MATRIX, axis=0)) is None


@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (900, 700)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_a_merged_update_of_low_rank(rank: int, shape: tuple[int, int], dtype: type):
    """A LoRA merge, W + (alpha / r) B A: the rank is that of its factors."""
    rng = np.random.default_rng(rank)
    a = (0.05 * rng.standard_normal(shape)).astype(dtype)
    update = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    b = (a + 0.01 * update).astype(dtype)
    found = difference_of(ArrayPair("x", "x", "x", "", "", a, b))
    assert found.verdict == "low_rank"
    assert found.detail.startswith(f"rank {rank},")


def test_changes_without_low_rank():
    noise = MATRIX + 0.01 * RNG.standard_normal(MATRIX.shape).astype(np.float32)
    assert rank_of_change(MATRIX, noise, MATRIX.size) is None
    one = MATRIX.copy()
    one[3, 4] += 1
    assert verdict(MATRIX, one) == "different"
    row = MATRIX.copy()
    row[3] += 1
    assert verdict(MATRIX, row) == "different"  # listing it is shorter than its factors
    half = MATRIX + (RNG.standard_normal((300, 100)) @ RNG.standard_normal((100, 200))).astype(np.float32)  # fmt: skip
    assert verdict(MATRIX, half) == "different"


QUANTISED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
BY_BYTES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")


def random_blocks(kind: str, rows: int = 24) -> tuple[np.ndarray, StoredBlocks]:
    """Blocks of random bytes with sound scales, and what ggml's Python package makes of them."""
    number = gguf.GGMLQuantizationType[kind]
    size, nbytes = gguf.GGML_QUANT_SIZES[number]
    rng = np.random.default_rng(7)
    raw = rng.integers(0, 256, (rows, 2 * nbytes), np.uint8)
    at = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
    for place in at[kind]:
        scale = np.float16(rng.uniform(0.001, 0.01, (rows, 2)))
        for block in (0, 1):
            start = block * nbytes + place
            raw[:, start : start + 2] = scale[:, block : block + 1].view(np.uint8)
    blocks = StoredBlocks(kind.lower(), number, (rows, 2 * size), raw)
    return gguf.dequantize(raw, number), blocks


@pytest.mark.parametrize("kind", QUANTISED)
def test_what_the_reference_quantises_is_within_half_a_step(kind: str):
    number = gguf.GGMLQuantizationType[kind]
    a = RNG.standard_normal((64, 256)).astype(np.float32)
    raw = gguf.quantize(a, number)
    levels = levels_of_blocks(StoredBlocks(kind.lower(), number, a.shape, raw))
    b = gguf.dequantize(raw, number)
    check_levels(a, b, levels)


@pytest.mark.parametrize("kind", BY_BYTES)
def test_levels_of_super_blocks(kind: str):
    b, blocks = random_blocks(kind)
    levels = levels_of_blocks(blocks)
    assert levels is not None
    step = np.repeat(levels.step, levels.group, 1)
    a = b + RNG.uniform(-0.49, 0.49, b.shape).astype(np.float32) * step
    check_levels(a, b, levels)


def check_levels(a: np.ndarray, b: np.ndarray, levels: Levels | None) -> None:
    """The stored numbers are levels; the nearest ones; and two steps off, they are not."""
    assert levels is not None
    low, step, high = (np.repeat(each, levels.group, 1) for each in levels[1:4])
    count = (b - low) / np.where(step, step, 1)
    np.testing.assert_allclose(count, np.round(count), atol=1e-2)
    assert (b >= low - 1e-6).all()
    assert (b <= high + 1e-6).all()
    assert is_nearest_level(a, b, levels)
    assert is_nearest_level(a.T, b.T, turned(levels))
    off = a.copy()
    middle = np.argwhere((b > low + step / 2) & (b < high - step / 2) & (step > 0))[0]
    off[tuple(middle)] += 2 * step[tuple(middle)]
    assert not is_nearest_level(off, b, levels)


def turned(levels: Levels) -> Levels:
    parts = {name: getattr(levels, name).T for name in ("low", "step", "high", "reach")}
    return levels._replace(**parts, axis=0)


def test_two_quantisations_of_one_tensor():
    a = RNG.standard_normal((64, 256)).astype(np.float32)
    found: dict[str, Callable] = {}
    for kind in ("Q4_0", "Q8_0"):
        number = gguf.GGMLQuantizationType[kind]
        raw = gguf.quantize(a, number)
        found[kind] = lambda raw=raw, number=number, kind=kind: levels_of_blocks(
            StoredBlocks(kind.lower(), number, a.shape, raw)
        )
        found[f"{kind} values"] = lambda raw=raw, number=number: gguf.dequantize(
            raw, number
        )
    pair = ArrayPair(
        "x", "x", "x", "q4_0", "q8_0", found["Q4_0 values"](), found["Q8_0 values"](),
        found["Q4_0"], found["Q8_0"],
    )  # fmt: skip
    assert difference_of(pair).verdict == "quantized"
    other = pair._replace(a=pair.a[::-1].copy())
    assert difference_of(other).verdict == "different"
