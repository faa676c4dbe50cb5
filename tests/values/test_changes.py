"""What changed between two arrays, against NumPy in float64; a flipped bit is always found."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.values.blocks import BLOCK
from explorer.values.changes import Changes, changes_of
from explorer.values.rank import rank_of_change

DTYPES = [
    np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int8, np.uint16, np.int32,
    np.int64, np.bool_,
]  # fmt: skip
SIZES = [1, 1000, BLOCK + 321]
KINDS = {
    "small changes": lambda x, rng: x * (1 + 1e-3 * rng.standard_normal(x.shape)),
    "all new": lambda x, rng: rng.standard_normal(x.shape),
    "few": lambda x, rng: x + (rng.random(x.shape) < 0.01),
    "huge": lambda x, rng: x * 1e25,
    "tiny": lambda x, rng: x * 1e-25,
    "opposite": lambda x, rng: -x,
    "zero": lambda x, rng: x * 0,
    "with gaps": lambda x, rng: np.where(rng.random(x.shape) < 0.1, rng.choice([np.nan, np.inf, -np.inf], x.shape), x),
}  # fmt: skip


def cast(numbers: np.ndarray, dtype: type) -> np.ndarray:
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind in "iu":
            numbers = np.clip(np.nan_to_num(numbers) * 50, 0, 120)
        return numbers.astype(dtype)


def check(a: np.ndarray, b: np.ndarray, found: Changes) -> None:
    """Compare every figure with NumPy's in float64."""
    x, y = (side.reshape(-1).astype(np.float64) for side in (a, b))
    if a.dtype == b.dtype:
        bits = [np.ascontiguousarray(side).reshape(-1).view(f"u{side.dtype.itemsize}") for side in (a, b)]  # fmt: skip
        changed = bits[0] != bits[1]
    else:
        changed = (x != y) & ~(np.isnan(x) & np.isnan(y))
    assert found.changed == changed.sum()
    assert found.first == (int(changed.argmax()) if changed.any() else None)
    if not found.changed:
        return
    good = np.isfinite(x) & np.isfinite(y)
    gaps = ~good & (x != y) & ~(np.isnan(x) & np.isnan(y))
    assert found.gaps == gaps.sum()
    change = (y - x)[good]
    near = lambda value: pytest.approx(value, rel=2e-6)  # noqa: E731
    assert found.max_abs == near(np.abs(change).max(initial=0.0))
    assert found.sum_abs == near(np.abs(change).sum())
    norms = [np.linalg.norm(side[good]) for side in (x, y)]
    if norms[0]:
        assert found.relative_l2 == near(np.linalg.norm(change) / norms[0])
    if all(norms):
        cosine = float(x[good] @ y[good] / norms[0] / norms[1])
        assert found.cosine == pytest.approx(cosine, rel=1e-6, abs=2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_every_figure_is_numpys(dtype: type, kind: str, size: int):
    rng = np.random.default_rng(size)
    numbers = rng.standard_normal(size)
    a, b = cast(numbers, dtype), cast(KINDS[kind](numbers, rng), dtype)
    check(a, b, changes_of(a, b))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "formats",
    [
        (np.float32, ml_dtypes.bfloat16),
        (np.float64, np.float32),
        (np.int8, np.float32),
        (np.float16, ml_dtypes.bfloat16),
    ],
    ids=lambda each: "-".join(np.dtype(kind).name for kind in each),
)
def test_two_formats(formats: tuple, kind: str):
    rng = np.random.default_rng(5)
    numbers = rng.standard_normal(3000)
    a, b = cast(numbers, formats[0]), cast(KINDS[kind](numbers, rng), formats[1])
    check(a, b, changes_of(a, b))


def test_the_angle_of_a_small_change_is_exact():
    rng = np.random.default_rng(0)
    a = rng.standard_normal(200_000)
    b = a + 1e-6 * rng.standard_normal(a.size)
    found = changes_of(a.astype(np.float32), b.astype(np.float32))
    x, y = a.astype(np.float32).astype(float), b.astype(np.float32).astype(float)
    d = y - x
    sine = math.sqrt((x @ x * (d @ d) - (x @ d) ** 2) / (x @ x * (y @ y)))
    assert 1 - found.cosine == pytest.approx(1 - math.sqrt(1 - sine**2), rel=1e-3)


@pytest.mark.parametrize("layout", ["transposed", "strided", "three axes", "reversed"])
def test_arrays_that_are_not_contiguous(layout: str):
    rng = np.random.default_rng(1)
    base = rng.standard_normal((40, 30, 50)).astype(np.float32)
    views = {
        "transposed": lambda x: x[0].T,
        "strided": lambda x: x[::3, :, 1],
        "three axes": lambda x: x.transpose(2, 0, 1),
        "reversed": lambda x: x[:, ::-1],
    }
    a = views[layout](base)
    b = np.ascontiguousarray(a)
    assert changes_of(a, b).changed == 0
    index = tuple(size // 2 for size in b.shape)
    b[index] += 1
    found = changes_of(a, b)
    assert found.changed == 1
    assert np.unravel_index(found.first or 0, b.shape) == index
    check(a, b, found)


@given(
    st.sampled_from(DTYPES[:-1]),
    st.integers(1, 5000),
    st.integers(0, 2**32),
    st.integers(0, 63),
    st.integers(0, 99),
)
@settings(max_examples=120, deadline=None)
def test_one_flipped_bit_is_found(dtype: type, size: int, place: int, bit: int, seed: int):
    raw = np.random.default_rng(seed).bytes(size * np.dtype(dtype).itemsize)
    a = np.frombuffer(raw, dtype).copy()
    b = a.copy()
    at = place % size
    bits = b.view(f"u{b.dtype.itemsize}")
    bits[at] ^= bits.dtype.type(1 << bit % (8 * b.dtype.itemsize))
    found = changes_of(a, b)
    assert (found.changed, found.first) == (1, at)
    assert found.beyond == 1
    assert changes_of(a, a.copy()).changed == 0


@given(st.floats(0, 0.1), st.floats(0, 0.1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_tolerance(rtol: float, atol: float, seed: int):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(500)
    b = a + rng.choice([0.0, 0.05, 0.2], 500) * rng.standard_normal(500)
    a[3], b[3], a[4], b[5] = np.nan, np.nan, np.nan, np.inf
    found = changes_of(a, b, rtol, atol)
    with np.errstate(invalid="ignore"):
        inside = np.abs(b - a) <= atol + rtol * np.abs(a)
    inside |= np.isnan(a) & np.isnan(b)
    assert found.beyond == (~inside).sum()


def test_nothing():
    found = changes_of(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))
    assert (found.changed, found.mean_abs, found.relative_l2) == (0, 0.0, 0.0)
    assert changes_of(np.array(1.0), np.array(2.0)).relative_l2 == 1.0


@pytest.mark.parametrize(
    ("a", "b", "atol", "largest", "beyond"),
    [
        (np.array([2**60, 5]), np.array([2**60 + 100, 5]), 1, 100.0, 1),
        (np.array([2**53]), np.array([2**53 + 1]), 0.5, 1.0, 1),
        (np.array([2**53]), np.array([2**53 + 1]), 1, 1.0, 0),
        (np.array([2**63 - 1]), np.array([2**63 - 2]), 0.5, 1.0, 1),
        (np.array([-(2**63)]), np.array([2**63 - 1]), 1, 2.0**64, 1),
        (np.uint64([2**64 - 1]), np.uint64([2**64 - 3]), 1, 2.0, 1),
        (np.int64([-1]), np.uint64([2**64 - 1]), 1, 2.0**64, 1),
        (np.array([2**53 + 1]), np.float64([2**53]), 0.5, 1.0, 1),
        (np.float64([2.5]), np.array([2]), 0.25, 0.5, 1),
        (np.int64([7]), np.int32([7]), 0, 0.0, 0),
        (
            np.longdouble([1]),
            np.longdouble([1]) + np.longdouble(2) ** -60,
            1e-30,
            2.0**-60,
            1,
        ),
        (np.float32([0]), np.float32([0.1]), 0.1, float(np.float32(0.1)), 1),
        (np.float32([2**24]), np.float32([-1]), 2**24, 2.0**24 + 1, 1),
    ],
)
def test_a_tolerance_is_kept_where_float64_or_float32_round(
    a: np.ndarray, b: np.ndarray, atol: float, largest: float, beyond: int
):
    """What is right is what Python's integers and fractions say."""
    found = changes_of(a, b, atol=atol)
    assert found.max_abs == pytest.approx(largest, rel=1e-7)
    assert found.beyond == beyond
    assert bool(found.changed) == bool(largest)


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9)),
        min_size=1,
        max_size=9,
    )
)
@settings(max_examples=60, deadline=None)
def test_differences_of_integers_are_those_of_python(pairs: list[tuple[int, int]]):
    a = [max(-(2**63) + 9, min(x, 2**63 - 10)) for x, _ in pairs]
    b = [x + step for x, (_, step) in zip(a, pairs, strict=True)]
    found = changes_of(np.array(a, np.int64), np.array(b, np.int64))
    steps = [abs(step) for _, step in pairs]
    assert (found.max_abs, found.sum_abs) == (max(steps), sum(steps))


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1e150, 1e-320, 8e307])
def test_numbers_whose_squares_float64_does_not_hold(scale: float):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 500))
    a, b = x * scale, y * scale
    found = changes_of(a, b)
    left, right = a / np.longdouble(scale), b / np.longdouble(scale)
    norm = np.sqrt(((right - left) ** 2).sum() / (left**2).sum())
    assert found.relative_l2 == pytest.approx(float(norm), rel=1e-9)
    cosine = (left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum())
    assert found.cosine == pytest.approx(float(cosine), rel=1e-9)
    assert changes_of(np.array([1e200, 1]), np.array([2e200, 1])).relative_l2 == 1
    small = changes_of(np.array([1.0, 1e-200]), np.array([1.0, 2e-200]))
    assert small.relative_l2 == pytest.approx(1e-200)


def test_the_rank_of_a_change_of_any_size():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((80, 60))
    update = np.outer(rng.standard_normal(80), rng.standard_normal(60))
    for scale in (1.0, 1e100, 1e-100, 1e300):
        found = rank_of_change(a * scale, (a + update) * scale, a.size)
        assert found is not None
        assert found.rank == 1
