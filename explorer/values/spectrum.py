"""Named arrays -> the spectra of their matrices.

A tensor of more than two axes is several matrices: of stacked experts or layers one each, of a
convolution one for each place of its kernel.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import frexp, isfinite, ldexp, prod
from typing import Any, Literal

import numpy as np

from explorer import dtypes
from explorer.document.words import counted
from explorer.paths import name_of
from explorer.values.arrays import NamedValues, check_addressable
from explorer.values.moments import is_extreme
from explorer.values.records import MatrixSpectrum, Spectrum, place_name
from explorer.values.spectra import EXACT, leading_values, power_law, singular_values

__all__ = ["matrix_axes", "spectra_of"]

_RANK = 64
_BLOCK = 1 << 22
_SAFE = 1e15  # magnitudes whose squares float32 holds


def spectra_of(
    target: str, arrays: Iterable[NamedValues], rank: int | None = None
) -> Spectrum:
    """Return the spectra of matrices of parameters, one after the other.

    Args:
        target: what they are of.
        arrays: NumPy or JAX arrays.
        rank: how many singular values are kept, and found of a large matrix; None for 64.

    >>> rows = NamedValues(("w",), np.diag([4.0, 4.0, 4.0, 0.0]), "float64")
    >>> found = spectra_of("one", [rows]).matrices[0]
    >>> found.spectral_norm, found.stable_rank, round(found.effective_rank, 6)
    (4.0, 3.0, 3.0)
    """
    matrices, notes = [], list[str]()
    split: list[tuple[str, int]] = []
    left_out = Counter[str]()
    for named in arrays:
        array, name = named.array, name_of(named.key)
        axes = matrix_axes(tuple(array.shape), named.component)
        why = _why_left_out(named)
        if why or axes is None:
            left_out[why or _NO_MATRIX] += 1
            continue
        check_addressable(name, array)
        parts = 0
        for index, matrix in _matrices(np.asarray(array), axes):
            parts += 1
            largest = _largest(matrix)
            if not isfinite(largest * matrix.size**0.5):
                has = "a norm beyond float64" if isfinite(largest) else "NaN or infinities"
                notes.append(f"{place_name(name, index)}: has {has}, and no spectrum")
                continue
            matrices.append(_spectrum(named, index, matrix, largest, rank or _RANK, notes))
        if len(array.shape) > 2:
            split.append((name, parts))
    if split:
        several = (
            f"{len(split):,} tensors of more than two axes"
            if len(split) > 1
            else split[0][0]
        )
        notes.append(
            f"{several}: {sum(number for _, number in split):,} matrices, named by their places"
        )
    for why, number in left_out.items():
        notes.append(f"left out: {counted(number, 'tensor')} {why}")
    return Spectrum(target=target, matrices=tuple(matrices), notes=tuple(notes))


_NO_MATRIX = "without two axes longer than 1"


def _why_left_out(named: NamedValues) -> str:
    """Return why a tensor has no spectra though its shape may allow them; "" of one that has."""
    if named.is_packed:
        return "of quantised layouts that are not decoded"
    if dtypes.find(named.array.dtype.name).kind != "float":
        return "of other than floating-point numbers"
    return "" if named.is_parameter else "of state"


def matrix_axes(shape: tuple[int, ...], component: str = "") -> tuple[int, int] | None:
    """Return which two axes of a tensor are those of its matrices; None without two.

    The first two (PyTorch's kernels) or the last two (JAX's; stacked layers), whichever are more
    elements; of experts the last two.

    >>> matrix_axes((64, 3, 7, 7)), matrix_axes((7, 7, 3, 64)), matrix_axes((12, 32, 32))
    ((0, 1), (2, 3), (1, 2))
    >>> matrix_axes((8, 4, 4), "experts"), matrix_axes((5, 1, 3)), matrix_axes((5, 1, 1))
    ((1, 2), (0, 2), None)
    """
    number = len(shape)
    pairs = [(number - 2, number - 1)] if number > 1 else []
    if component != "experts" and number > 2:
        largest = sorted(range(number), key=lambda axis: -shape[axis])[:2]
        pairs = [max((pairs[0], (0, 1)), key=lambda pair: shape[pair[0]] * shape[pair[1]])]
        pairs.append((min(largest), max(largest)))
    fitting = [pair for pair in pairs if min(shape[axis] for axis in pair) > 1]
    return fitting[0] if fitting else None


def _matrices(
    array: np.ndarray, axes: tuple[int, int]
) -> Iterator[tuple[tuple[int | None, ...] | None, np.ndarray]]:
    """Yield the matrices of a tensor, each with its place; one of two axes as it is."""
    if array.ndim == 2:
        yield None, array
        return
    others = [axis for axis in range(array.ndim) if axis not in axes]
    sizes = [array.shape[axis] for axis in others]
    for number in range(prod(sizes)):
        at = dict(zip(others, map(int, np.unravel_index(number, sizes)), strict=True))
        index = tuple(at.get(axis) for axis in range(array.ndim))
        cut: Any = tuple(slice(None) if place is None else place for place in index)
        yield index, np.ascontiguousarray(array[cut])


def _largest(matrix: np.ndarray) -> float:
    """Return the largest magnitude; NaN or infinity where there are such."""
    return float(np.max([np.abs(block).max() for block in _wide_blocks(matrix)]))


def _wide_blocks(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the elements in float64, some at a time."""
    flat = matrix.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(np.float64)


def _spectrum(
    named: NamedValues,
    index: tuple[int | None, ...] | None,
    matrix: np.ndarray,
    largest: float,
    rank: int,
    notes: list[str],
) -> MatrixSpectrum:
    """Return the spectrum of a matrix; one of extreme magnitudes by way of a scaled one."""
    name = name_of(named.key)
    power = frexp(largest)[1] if is_extreme(largest, _SAFE) else 0
    if power:
        matrix = np.ldexp(matrix.astype(np.float64), -power)
    method, values, error = _values(name, matrix, rank, notes)
    squares = _squares(matrix) if method == "randomised" else float(values @ values)
    law = power_law(values**2)
    top = float(values[0])

    def unscaled(size: float) -> float:
        return ldexp(size, power)

    return MatrixSpectrum(
        name=name,
        key=named.key if isinstance(named.key, str) else name,
        dtype=named.dtype,
        shape=(matrix.shape[0], matrix.shape[1]),
        index=index,
        method=method,
        spectral_norm=unscaled(top),
        error=unscaled(error),
        frobenius_norm=unscaled(squares**0.5),
        stable_rank=squares / top**2 if top else None,
        effective_rank=_effective_rank(values) if method == "exact" else None,
        alpha=law.alpha if law else None,
        alpha_error=law.error if law else None,
        tail=law.size if law else 0,
        values=tuple(map(unscaled, values[:rank].tolist())),
    )


def _values(
    name: str, matrix: np.ndarray, rank: int, notes: list[str]
) -> tuple[Literal["exact", "randomised"], np.ndarray, float]:
    """Return all singular values, or the leading ones of a matrix too large for that."""
    if min(matrix.shape) <= EXACT:
        try:
            return "exact", singular_values(matrix), 0.0
        except MemoryError:
            notes.append(f"{name}: too little memory for all singular values: randomised")
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32)
    return "randomised", *leading_values(matrix, rank)


def _squares(matrix: np.ndarray) -> float:
    """Return the sum of the squares of all elements."""
    return sum(float(block @ block) for block in _wide_blocks(matrix))


def _effective_rank(values: np.ndarray) -> float | None:
    """Return the exponential of the entropy of singular values as shares of their sum."""
    total = values.sum()
    if not total:
        return None
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))
