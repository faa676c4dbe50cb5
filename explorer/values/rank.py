"""The rank of a change: whether few directions explain it, as after merging a LoRA.

Both sides are rounded to their formats, so that a change of rank r has small singular values of
noise beside its r large ones: those below what rounding explains are not counted.
A matrix is judged by a small part first, since no part has a higher rank than the whole.

References:
    Halko, Martinsson, Tropp: Finding structure with randomness (2011).
"""

from math import frexp
from typing import NamedTuple

import numpy as np

from explorer.values.blocks import widened

__all__ = ["Rank", "rank_of_change"]

_PART = (256, 128)  # rows and columns of the part
_EXACT = 512  # the shorter side up to which every singular value is computed
_PROBES = 72  # directions of the range finder
_SPARE = 8  # of them, beyond the rank that they can find
_UNEXPLAINED = 1e-3  # share of the change's norm that the rank may leave
_ROUNDOFF = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}


class Rank(NamedTuple):
    """The rank of a change, and the share of its norm that is outside of it."""

    rank: int
    rest: float


def rank_of_change(a: np.ndarray, b: np.ndarray, changed: int) -> Rank | None:
    """Return the rank of `b - a` where it is much smaller than its sides, else None.

    Args:
        a, b: finite arrays of one shape of two or more axes; all but the last are rows.
        changed: elements that changed; those of few rows or columns have a low rank without
            being an update of low rank, which must be shorter than the list of its elements.
    """
    if a.ndim < 2 or min(a.shape) < 1:
        return None
    a, b = (side.reshape(-1, side.shape[-1]) for side in (a, b))
    rows, columns = a.shape
    shorter = min(rows, columns)
    if shorter < 4 or changed <= rows + columns:
        return None
    roundoff = max(_ROUNDOFF.get(side.dtype.name, 2.0**-24) for side in (a, b))
    if not _is_low_in_part(a, b, roundoff, shorter):
        return None
    left, right = widened(a), widened(b)
    if np.float64 in (
        left.dtype,
        right.dtype,
    ):  # of any size; the rank is that of a multiple
        top = max(float(np.abs(side).max()) for side in (left, right))
        left, right = (np.ldexp(side, -frexp(top)[1]) for side in (left, right))
    left, right = left.astype(np.float32), right.astype(np.float32)
    change = right - left
    typical = float(np.linalg.norm(right) / b.size**0.5)
    if rows < columns:
        change = change.T
    exact = shorter <= _EXACT
    found = (_by_all_sizes if exact else _by_range)(change, roundoff * typical)
    most = shorter // 4 if exact else min(shorter // 4, _PROBES - _SPARE)
    if found is None or found.rank > most or found.rank * (rows + columns) >= changed:
        return None
    return found


def _is_low_in_part(a: np.ndarray, b: np.ndarray, roundoff: float, shorter: int) -> bool:
    """Return whether a part of the matrix does not rule out that its rank is low."""
    rng = np.random.default_rng(0)
    chosen = [
        np.sort(rng.choice(side, min(side, most), replace=False))
        for side, most in zip(a.shape, _PART, strict=True)
    ]
    left, right = (widened(side[np.ix_(*chosen)]).astype(np.float64) for side in (a, b))
    shift = -frexp(float(max(np.abs(left).max(), np.abs(right).max())))[1]
    left, right = np.ldexp(left, shift), np.ldexp(right, shift)
    sizes = np.linalg.svd(right - left, compute_uv=False)
    typical = float(np.linalg.norm(right) / right.size**0.5)
    above = int((sizes > _threshold(sizes, left.shape, roundoff * typical)).sum())
    return above <= min(shorter // 4, len(sizes) // 2)


def _threshold(sizes: np.ndarray, shape: tuple[int, ...], noise: float) -> float:
    """Return the singular value below which rounding explains it: that of a random matrix."""
    spread = noise * (shape[0] ** 0.5 + shape[1] ** 0.5)
    return max(2 * spread, 1e-6 * float(sizes[0]) if len(sizes) else 0.0)


def _judged(rank: int, rest: float, change: np.ndarray, noise: float) -> Rank | None:
    """Return a rank if what it leaves is rounding, or next to nothing."""
    norm = float(np.linalg.norm(change))
    if not rank or not norm:
        return None
    allowed = max(2 * noise * change.size**0.5, _UNEXPLAINED * norm)
    return Rank(rank, rest / norm) if rest <= min(allowed, norm / 2) else None


def _by_all_sizes(change: np.ndarray, noise: float) -> Rank | None:
    """Return the rank by every singular value of a matrix that is not wider than tall."""
    triangle = np.linalg.qr(change.astype(np.float64), mode="r")
    sizes = np.linalg.svd(triangle, compute_uv=False)
    rank = int((sizes > _threshold(sizes, change.shape, noise)).sum())
    return _judged(rank, float(np.linalg.norm(sizes[rank:])), change, noise)


def _by_range(change: np.ndarray, noise: float) -> Rank | None:
    """Return the rank by a range finder with one power iteration; what it leaves is measured."""
    rng = np.random.default_rng(0)
    probes = rng.standard_normal((change.shape[1], _PROBES), np.float32)
    basis = np.linalg.qr(change @ probes)[0]
    basis = np.linalg.qr(change @ (change.T @ basis))[0]
    left, sizes, right = np.linalg.svd(basis.T @ change, full_matrices=False)
    rank = int((sizes > _threshold(sizes, change.shape, noise)).sum())
    explained = (basis @ left[:, :rank]) @ (sizes[:rank, None] * right[:rank])
    return _judged(rank, float(np.linalg.norm(change - explained)), change, noise)
