"""Small tensors that are summed up together are described as each of them alone is."""

import numpy as np
import pytest

import explorer as ex

TINY = np.float32(2.0**-126)


def hostile(size: int) -> dict[str, np.ndarray]:
    """Return arrays of one size, of which several are put into one matrix."""
    rng = np.random.default_rng(size)
    normal = rng.standard_normal((20, size)).astype(np.float32)
    found = {f"normal/{i}": row for i, row in enumerate(normal)}
    with_nan, with_inf, sparse, subnormal = normal[:4].copy()
    with_nan[[3, size - 1]] = np.nan
    with_inf[5] = -np.inf
    sparse[rng.random(size) < 0.7] = 0
    subnormal[7] = TINY / 3
    drawn = (1000 + 1e-3 * rng.standard_normal(size)).astype(np.float32)
    huge = np.full(size, 3e30, np.float32)
    zeros = -np.zeros(size, np.float32)
    named = {"nan": with_nan, "inf": with_inf, "sparse": sparse, "subnormal": subnormal}
    return found | named | {"drawn": drawn, "huge": huge, "zeros": zeros}


@pytest.mark.parametrize("size", [1, 100, 4096, 4097, 12_500, 65_535, 65_536])
@pytest.mark.parametrize("statistics", ["all", "moments"])
def test_every_figure_is_numpys(size: int, statistics: str):
    arrays = hostile(max(size, 8))
    found = ex.describe(arrays, statistics=statistics)
    assert sorted(each.name for each in found.tensors) == sorted(arrays)
    for each in found.tensors:
        array = arrays[each.name]
        exact = array[np.isfinite(array)].astype(np.float64)
        is_of = each.statistics
        assert (is_of.min, is_of.max) == (exact.min(), exact.max())
        # a part of float32 in each sum; cancellation is measured against the magnitudes
        assert abs(is_of.mean - exact.mean()) <= 1e-6 * np.abs(exact).mean()
        assert is_of.std == pytest.approx(exact.std(), rel=1e-4, abs=1e-6 * exact.std())
        assert is_of.l1 == pytest.approx(np.abs(exact).sum(), rel=1e-6)
        assert is_of.l2 == pytest.approx(np.linalg.norm(exact), rel=1e-6)
        sizes = np.abs(exact)
        assert is_of.zeros == (sizes == 0).sum()
        assert is_of.subnormals == ((sizes > 0) & (sizes < TINY)).sum()
        assert (is_of.nan, is_of.inf) == (np.isnan(array).sum(), np.isinf(array).sum())
        if statistics == "moments":
            assert not is_of.quantiles
            continue
        exponents = np.frexp(sizes[sizes >= TINY])[1] - 1
        keys, numbers = np.unique(exponents, return_counts=True)
        assert is_of.histogram == dict(zip(keys.tolist(), numbers.tolist(), strict=True))
        for share, value in is_of.quantiles.items():
            right = np.quantile(exact, float(share) / 100, method="inverted_cdf")
            assert abs(value - right) <= is_of.quantile_error * abs(right) + TINY
