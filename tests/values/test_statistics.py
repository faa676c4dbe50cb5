"""Statistics of every format against NumPy in float64, on plain and hostile numbers."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import explorer as ex
from explorer.values.records import Statistics
from explorer.values.small import SMALL
from explorer.values.statistics import sum_up
from explorer.values.summed import Summed, statistics_of

DTYPES = [
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2, ml_dtypes.float4_e2m1fn, np.int8, np.uint8, np.int16, np.int32, np.int64, ml_dtypes.int4,
    np.bool_,
]  # fmt: skip
SIZES = [1, 7, 4096, SMALL + 4097]
KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "huge mean, tiny variance": lambda rng, n: 1000 + 1e-3 * rng.standard_normal(n),
    "sparse": lambda rng, n: rng.standard_normal(n) * (rng.random(n) < 0.1),
    "constant": lambda rng, n: np.full(n, 200.0),
    "negative zero": lambda rng, n: np.full(n, -0.0),
    "subnormal": lambda rng, n: rng.standard_normal(n) * 1e-41,
    "all NaN": lambda rng, n: np.full(n, np.nan),
    "NaN and infinities": lambda rng, n: rng.choice([np.nan, np.inf, -np.inf, 1, -3, 0], n),
    "huge": lambda rng, n: rng.standard_normal(n) * 1e30,
    "spread": lambda rng, n: rng.standard_normal(n) * 10 ** rng.uniform(-30, 30, n),
}  # fmt: skip


def found_in(array: np.ndarray) -> Statistics:
    return statistics_of(sum_up(array.reshape(-1)))


def smallest_normal(dtype: np.dtype) -> float:
    return 0.0 if dtype.kind in "iub" or "int" in dtype.name else float(ml_dtypes.finfo(dtype).smallest_normal)  # fmt: skip


def check(array: np.ndarray, found: Statistics) -> None:
    """Compare every figure with NumPy's own in float64, of sorted finite elements."""
    wide = array.astype(np.float64)
    finite = np.sort(wide[np.isfinite(wide)])
    assert (found.count, found.finite) == (wide.size, finite.size)
    assert found.nan == np.isnan(wide).sum()
    assert found.inf == np.isinf(wide).sum()
    assert found.first_nan == (int(np.isnan(wide).argmax()) if found.nan else None)
    assert found.first_inf == (int(np.isinf(wide).argmax()) if found.inf else None)
    assert found.zeros == (finite == 0).sum()
    sizes = np.abs(finite)
    tiny = smallest_normal(array.dtype)
    assert found.subnormals == ((sizes > 0) & (sizes < tiny)).sum()
    assert sum(found.histogram.values()) == found.finite - found.zeros - found.subnormals
    normal = sizes[(sizes >= tiny) & (sizes > 0)]
    exponents, number = np.unique(np.floor(np.log2(normal)), return_counts=True)
    assert found.histogram == dict(zip(exponents.astype(int).tolist(), number.tolist(), strict=True))  # fmt: skip
    if not finite.size:
        assert found.min is found.max is found.mean is found.std is found.rms is None
        assert found.quantiles == {}
        return
    scale = float(sizes.max()) or 1.0
    assert (found.min, found.max) == (finite[0], finite[-1])
    near = pytest.approx
    assert found.mean == near(finite.mean(), rel=1e-6, abs=1e-6 * finite.std() + 1e-300)
    assert found.std == near((finite / scale).std() * scale, rel=1e-6, abs=1e-12 * scale)
    assert found.rms == near(math.sqrt(((finite / scale) ** 2).mean()) * scale, rel=1e-6)
    assert found.l1 == near(sizes.sum(), rel=1e-6)
    assert found.l2 == near(math.sqrt(((finite / scale) ** 2).sum()) * scale, rel=1e-6)
    for share, value in found.quantiles.items():
        right = finite[max(1, math.ceil(float(share) * finite.size / 100 - 1e-9)) - 1]
        assert abs(value - right) <= found.quantile_error * abs(right)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_every_figure_is_numpys(dtype: type, kind: str, size: int):
    numbers = KINDS[kind](np.random.default_rng(size), size)
    with np.errstate(all="ignore"):
        array = np.nan_to_num(numbers) if np.dtype(dtype).kind in "iub" else numbers
        array = array.astype(dtype)
    check(array, found_in(array))


@given(
    st.lists(st.integers(0, 3000), max_size=6), st.sampled_from(DTYPES), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_any_split_gives_the_same(cuts: list[int], dtype: type, seed: int):
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        array = (rng.standard_normal(3000) * 5).astype(dtype)
        if np.dtype(dtype).kind == "f":
            array[rng.integers(0, 3000, 2)] = np.nan
    merged = Summed()
    for part in np.split(array, sorted(cuts)):
        merged.merge(sum_up(np.ascontiguousarray(part)))
    whole, parts = found_in(array), statistics_of(merged)
    for name in ("count", "finite", "min", "max", "zeros", "subnormals", "nan", "inf", "first_nan", "first_inf", "histogram"):  # fmt: skip
        assert getattr(parts, name) == getattr(whole, name), name
    for name in ("mean", "std", "rms", "l1", "l2"):
        assert getattr(parts, name) == pytest.approx(
            getattr(whole, name), rel=1e-6, abs=1e-6 * (whole.std or 0)
        )
    for share, value in parts.quantiles.items():
        assert value == pytest.approx(whole.quantiles[share], rel=2**-7)


def test_nothing_is_nothing():
    found = found_in(np.zeros(0, np.float32))
    assert (found.count, found.min, found.l1, found.quantiles) == (0, None, 0.0, {})
    assert statistics_of(Summed()).count == 0


def check_moments(array: np.ndarray, found: Statistics) -> None:
    """Compare with NumPy's sums in extended precision."""
    wide = array.astype(np.longdouble)
    count = wide.size
    mean = wide.sum() / count
    for name, right in {
        "mean": mean,
        "std": np.sqrt(((wide - mean) ** 2).sum() / count),
        "rms": np.sqrt((wide**2).sum() / count),
        "l1": np.abs(wide).sum(),
        "l2": np.sqrt((wide**2).sum()),
    }.items():
        held = float(right) if right <= np.finfo(np.float64).max else None
        assert getattr(found, name) == (None if held is None else pytest.approx(held, rel=1e-6, abs=0)), name  # fmt: skip


@pytest.mark.parametrize("bins", [True, False])
@pytest.mark.parametrize("scale", [1e200, 1e-200, 1e307, 1e150, 1e-150])
@pytest.mark.parametrize("size", [2, 5000, (1 << 20) + 4097])
def test_doubles_whose_squares_overflow_or_vanish(size: int, scale: float, bins: bool):
    numbers = np.random.default_rng(size).uniform(-1, 1.5, size) * scale
    check_moments(numbers, statistics_of(sum_up(numbers, bins)))


def test_large_and_small_doubles_together():
    rng = np.random.default_rng(0)
    for parts in (
        [1e200, 1.0],
        [-1.7e308, 1.7e308],
        [1e-300, 2e-200],
        [1e300] * 1000,
        [1.7e308] * 3,
    ):
        check_moments(np.array(parts), found_in(np.array(parts)))
    numbers = np.concatenate([rng.standard_normal(200_000), [1e200, 0.0, 5e-324]])
    found = found_in(numbers)
    check_moments(numbers, found)
    assert (found.zeros, found.subnormals, found.min) == (1, 1, numbers.min())


def test_several_tensors_of_large_doubles_and_valid_json():
    tree = {
        "a": np.array([[1e200, 1], [2e200, 3]]),
        "b": np.array([1e300] * 1000),
        "c": np.array([1.7e308] * 4),
    }
    found = ex.describe(tree)
    check_moments(
        np.concatenate([each.reshape(-1) for each in tree.values()]), found.totals
    )
    assert "Infinity" not in found.to_json()
    assert found.tensors[2].statistics.l1 is None
    assert str(found)


@pytest.mark.parametrize("bins", [True, False])
@pytest.mark.parametrize("size", [999, 4096, 65_535, 65_536, 147_456, (1 << 22) - 77])
def test_means_next_to_nothing(size: int, bins: bool):
    """Of numbers that cancel, runs that are summed in float32 keep too few digits."""
    rng = np.random.default_rng(size)
    half = rng.standard_normal(size // 2).astype(np.float32) * np.float32(0.05)
    numbers = rng.permutation(
        np.concatenate([half, -half, [np.float32(1e-3)] * (1 + size % 2)])
    )
    numbers = numbers.astype(np.float32)
    check_moments(numbers, statistics_of(sum_up(numbers, bins)))
    tree = {f"layer_{i}": np.roll(numbers, i) for i in range(3)}
    for each in ex.describe(tree, statistics="all" if bins else "moments").tensors:
        check_moments(numbers, each.statistics)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_bit_pattern(dtype: type):
    patterns = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    finite = patterns[np.isfinite(patterns.astype(np.float32))]
    for numbers in (patterns, finite):
        found = found_in(numbers)
        assert abs(found.mean) <= 1e-12 * found.std  # each number is there with both signs
        assert found.l1 == pytest.approx(
            math.fsum(np.abs(finite.astype(np.float64))), rel=1e-12
        )


def check_quantiles(numbers: np.ndarray, found: Statistics) -> None:
    """Compare with the order statistics of NumPy's sort, within the error that is stated."""
    ascending = np.sort(numbers)
    assert len(found.quantiles) == 9
    for share, value in found.quantiles.items():
        right = ascending[max(1, math.ceil(float(share) * numbers.size / 100 - 1e-9)) - 1]
        assert abs(value - float(right)) <= found.quantile_error * abs(float(right)), share


@pytest.mark.parametrize("scale", [1e100, 1e-60, 1e-41, 1e-310, 1e300, 2.0**127, 2.0**-126])
@pytest.mark.parametrize("size", [1000, 5000, 70_000])
def test_quantiles_of_numbers_of_any_size(size: int, scale: float):
    numbers = np.random.default_rng(size).standard_normal(size) * scale
    check_quantiles(numbers, found_in(numbers))
    if 1e-45 < scale < 1e37:
        narrow = numbers.astype(np.float32)
        check_quantiles(narrow, found_in(narrow))
    merged = Summed()
    for part in (numbers[:99], numbers[99:]):
        merged.merge(sum_up(part))
    check_quantiles(numbers, statistics_of(merged))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("size", [900, 9000, 90_000])
def test_quantiles_of_several_tensors_with_tiny_numbers(dtype: type, size: int):
    rng = np.random.default_rng(size)
    parts = [
        (rng.standard_normal(size) * 10.0 ** rng.uniform(-45, 3, size)).astype(dtype)
        for _ in range(3)
    ]
    parts[1][:9] = 0
    tree = {f"layer_{i}": part for i, part in enumerate(parts)}
    whole = np.concatenate(parts).astype(np.float64)
    found = ex.describe(tree)
    check_quantiles(whole, found.totals)
    for part, each in zip(parts, found.tensors, strict=True):
        check_quantiles(part.astype(np.float64), each.statistics)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64, np.uint32])
def test_quantiles_of_small_tensors_are_exact(dtype: type):
    numbers = np.arange(101).astype(dtype)
    found = found_in(np.random.default_rng(0).permutation(numbers))
    assert (found.quantile_error, found.quantiles["1"], found.quantiles["25"]) == (
        0.0,
        1.0,
        25.0,
    )
    check_quantiles(numbers, found)
