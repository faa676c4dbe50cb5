"""Statistics of every format against NumPy in float64, on plain and hostile numbers."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        assert abs(value - right) <= found.quantile_error * abs(right) + 1.2e-38 * (found.quantile_error > 0)  # fmt: skip


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
