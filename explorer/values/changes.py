"""What changed from one array to another: every figure in one pass of cache-sized blocks.

Blocks of equal bits are recognised first. In the others, `b - a` is taken once; its square, its
product with `a` and the square of `a` are dot products, folded in float64, from which the angle
of small changes follows without cancellation: sin² = (aa·dd - ad²) / (aa·bb).
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from explorer.values.blocks import (
    Done,
    dot,
    flat_blocks,
    kept,
    same_bits,
    scratch,
    widened,
    words,
)
from explorer.values.extreme_changes import exact_change, is_wide, scaled_figures

__all__ = ["Changes", "changes_of"]

_SMALL = 1e-3  # of the squares of a: a change that turns it by little
_CANCELLED = 1e-2  # of the squares, below which a difference of them has lost digits
_ABOVE = 1 + 2.0**-20  # times a float32: more than its rounding
_MOST = 1e280  # sums of squares that float64 takes well
_LOW, _HIGH = 1e-25, 1e30  # sums of squares that float32 takes well


@dataclass(slots=True)
class Changes:
    """Sums over the elements that are finite on both sides; see `TensorDifference`.

    `aa`, `bb`, `dd`, `ab` and `ad` are sums of products of the elements of `a`, of `b` and of the
    change. `first` is a flat index. `scaled` has the relative norm and the cosine where float64
    does not hold those sums.
    """

    count: int = 0
    changed: int = 0
    first: int | None = None
    max_abs: float = 0.0
    sum_abs: float = 0.0
    aa: float = 0.0
    bb: float = 0.0
    dd: float = 0.0
    ab: float = 0.0
    ad: float = 0.0
    gaps: int = 0
    beyond: int = 0
    scaled: tuple[float | None, float | None] | None = None

    @property
    def mean_abs(self) -> float:
        """The mean magnitude of the change."""
        return self.sum_abs / self.count if self.count else 0.0

    @property
    def relative_l2(self) -> float | None:
        """The norm of the change over that of `a`; None where `a` is zero and `b` is not."""
        if self.scaled is not None:
            return self.scaled[0]
        if not self.dd:
            return 0.0
        return _finite((self.dd / self.aa) ** 0.5) if self.aa else None

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle; None where one side is zero."""
        if self.scaled is not None:
            return self.scaled[1]
        if self.aa <= 0 or self.bb <= 0:
            return 1.0 if not self.dd else None
        sine = max((self.aa * self.dd - self.ad**2) / (self.aa * self.bb), 0.0)
        if self.dd < _SMALL * self.aa:
            return _finite((1 - sine) ** 0.5)
        return _finite(min(max(self.ab / (self.aa**0.5 * self.bb**0.5), -1.0), 1.0))

    def add_equal(self, squares: float) -> None:
        """Add elements that are the same on both sides."""
        self.aa += squares
        self.bb += squares
        self.ab += squares


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def changes_of(
    a: np.ndarray,
    b: np.ndarray,
    rtol: float = 0.0,
    atol: float = 0.0,
    *,
    is_part: bool = False,
    done: Done = kept,
) -> Changes:
    """Return what changed between two arrays of one shape.

    Args:
        a, b: the arrays.
        rtol, atol: the tolerance.
        is_part: whether the sums are added to those of other parts, which need the squares of
            what is the same too.
        done: called with each part that was read.

    >>> changes_of(np.array([3.0, 4.0]), np.array([3.0, 4.5])).relative_l2
    0.1
    """
    found = Changes(count=a.size)
    with np.errstate(all="ignore"):
        untouched = _add_blocks(found, a, b, _Work(rtol, atol), done)
        if found.changed or is_part:
            for _, x, _ in islice(flat_blocks(a, b, done), untouched):
                found.add_equal(_squares(x))
        if not is_part and _is_extreme(found, a, b):
            found.scaled = scaled_figures(a, b, done)
    return found


def _is_extreme(found: Changes, a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether float64 does not hold the sums of squares of a change."""
    if not (found.max_abs and {a.dtype, b.dtype} & {np.dtype(np.float64)}):
        return False
    most, least = max(found.aa, found.bb, found.dd), min(found.dd, found.aa)
    return not (most < _MOST and least > 1 / _MOST)


def _add_blocks(
    found: Changes, a: np.ndarray, b: np.ndarray, work: "_Work", done: Done
) -> int:
    """Add all blocks; return how many precede the first that changed.

    Their squares are not summed: they are needed only if something changed.
    """
    is_same_format = a.dtype == b.dtype
    untouched = 0
    for offset, x, y in flat_blocks(a, b, done):
        if not (is_same_format and same_bits(x, y)):
            work.add(found, x, y, offset)
        elif found.changed:
            found.add_equal(_squares(x))
        if not found.changed:
            untouched += 1
    return untouched


def _squares(block: np.ndarray) -> float:
    wide = widened(block)
    total = dot(wide, wide)
    if _LOW < total < _HIGH or (not total and not block.any()):
        return total
    wide = wide.astype(np.float64)
    wide = wide[np.isfinite(wide)]
    return dot(wide, wide)


class _Work:
    """The tolerance, and the memory that blocks share."""

    def __init__(self, rtol: float, atol: float):
        self.rtol, self.atol = rtol, atol
        self._memory = scratch()

    def add(self, found: Changes, x: np.ndarray, y: np.ndarray, offset: int) -> None:
        """Add a block of elements of which some changed."""
        left, right = widened(x), widened(y)
        if left.dtype != right.dtype:
            left, right = left.astype(np.float64), right.astype(np.float64)
        exact = None
        if is_wide(x.dtype) or is_wide(y.dtype):
            exact = exact_change(x, y)
        changed = self._changed(x, y, left, right)
        if exact is not None and x.dtype != y.dtype:
            changed |= np.isfinite(exact) & (exact != 0)
        number = int(np.count_nonzero(changed))
        if not number:
            if found.changed:
                found.add_equal(_squares(x))
            return
        if found.first is None:
            found.first = offset + int(changed.argmax())
        found.changed += number
        if exact is None:
            self._sums(found, left, right, number)
        else:
            self._carefully(found, left, right, number, exact)

    def _changed(
        self, x: np.ndarray, y: np.ndarray, left: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        out = self._memory.mask[: x.size]
        bits = words(x) if x.dtype == y.dtype else None
        if bits is not None:
            return np.not_equal(bits, y.view(bits.dtype), out=out)
        if x.dtype == y.dtype:  # of more bits than are subtracted
            left, right = x, y
        np.not_equal(left, right, out=out)
        return np.logical_and(out, ~(np.isnan(left) & np.isnan(right)), out=out)

    def _sums(
        self, found: Changes, left: np.ndarray, right: np.ndarray, number: int
    ) -> None:
        change = self._memory.change[left.dtype][: left.size]
        np.subtract(right, left, out=change)
        dd, aa = dot(change, change), dot(left, left)
        is_sound = (_LOW < dd < _HIGH or not dd) and _LOW < aa < _HIGH
        if not is_sound and left.dtype == np.float32:
            self._carefully(
                found, left.astype(np.float64), right.astype(np.float64), number
            )
            return
        if not (np.isfinite(dd) and np.isfinite(aa)):
            self._carefully(found, left, right, number)
            return
        ad = dot(left, change)
        bb = aa + 2 * ad + dd
        if bb < _CANCELLED * aa:
            self._carefully(
                found, left.astype(np.float64), right.astype(np.float64), number
            )
            return
        found.aa, found.bb, found.dd = found.aa + aa, found.bb + bb, found.dd + dd
        found.ab, found.ad = found.ab + aa + ad, found.ad + ad
        np.abs(change, out=change)
        found.max_abs = max(found.max_abs, float(change.max()))
        found.sum_abs += dot(change, self._memory.ones[change.dtype][: change.size])
        found.beyond += self._beyond(left, right, change, number)

    def _carefully(
        self,
        found: Changes,
        left: np.ndarray,
        right: np.ndarray,
        number: int,
        exact: np.ndarray | None = None,
    ) -> None:
        """Add a block in float64 with NaN, infinities, or numbers too large or small.

        Args:
            found: what takes the sums.
            left, right: the block.
            number: elements that changed.
            exact: the change, where float64 does not hold both sides.
        """
        finite = np.isfinite(left) & np.isfinite(right)
        both_nan = np.isnan(left) & np.isnan(right)
        gaps = int(np.count_nonzero(~finite & ~both_nan & (left != right)))
        found.gaps += gaps
        left, right = left[finite], right[finite]
        change = right - left if exact is None else exact[finite]
        found.aa += dot(left, left)
        found.bb += dot(right, right)
        found.dd += dot(change, change)
        found.ab += dot(left, right)
        found.ad += dot(left, change)
        np.abs(change, out=change)
        found.max_abs = max(found.max_abs, float(change.max(initial=0.0)))
        found.sum_abs += float(change.sum())
        if self.rtol or self.atol:
            found.beyond += gaps + self._beyond(left, right, change, number)
        else:
            found.beyond += number

    def _beyond(
        self, left: np.ndarray, right: np.ndarray, size: np.ndarray, number: int
    ) -> int:
        if not (self.rtol or self.atol):
            return number
        if size.dtype == np.float32:
            if float(size.max(initial=0.0)) * _ABOVE <= self.atol:
                return 0
            left, right = left.astype(np.float64), right.astype(np.float64)
            size = np.abs(right - left)
        return int(np.count_nonzero(size > self.atol + self.rtol * np.abs(left)))
