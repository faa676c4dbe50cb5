"""Named arrays -> the spectra of their matrices.

A tensor of more than two axes is several matrices: of stacked experts or layers one each, of a
convolution one for each place of its kernel.
"""

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, Literal

import numpy as np

from explorer import dtypes
from explorer.paths import name_of
from explorer.values.arrays import NamedValues, check_addressable
from explorer.values.records import MatrixSpectrum, Spectrum, place_name
from explorer.values.spectra import EXACT, leading_values, power_law, singular_values

__all__ = ["matrix_axes", "spectra_of"]

_RANK = 64
_BLOCK = 1 << 22


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
    matrices, notes, others = [], list[str](), 0
    split: list[tuple[str, int]] = []
    packed = 0
    for named in arrays:
        array, name = named.array, name_of(named.key)
        if named.is_packed:
            packed += 1
            continue
        is_float = dtypes.find(array.dtype.name).kind == "float"
        if len(array.shape) < 2 or not (is_float and named.is_parameter):
            continue
        axes = matrix_axes(tuple(array.shape), named.component)
        if axes is None:
            others += 1
            continue
        check_addressable(name, array)
        parts = 0
        for index, matrix in _matrices(np.asarray(array), axes):
            parts += 1
            if not _is_finite(matrix):
                notes.append(
                    f"{place_name(name, index)}: has NaN or infinities, and no spectrum"
                )
                continue
            matrices.append(_spectrum(named, index, matrix, rank or _RANK, notes))
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
    if packed:
        are = "tensors are" if packed > 1 else "tensor is"
        notes.append(f"{packed:,} quantised {are} not dequantised: left out")
    if others:
        has = "tensors have" if others > 1 else "tensor has"
        notes.append(f"{others:,} {has} fewer than two axes longer than 1: left out")
    return Spectrum(target=target, matrices=tuple(matrices), notes=tuple(notes))


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


def _is_finite(matrix: np.ndarray) -> bool:
    flat = matrix.reshape(-1)
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    return all(np.isfinite(block.astype(np.float32)).all() for block in blocks)


def _spectrum(
    named: NamedValues,
    index: tuple[int | None, ...] | None,
    matrix: np.ndarray,
    rank: int,
    notes: list[str],
) -> MatrixSpectrum:
    name = name_of(named.key)
    method, values, error = _values(name, matrix, rank, notes)
    squares = _squares(matrix) if method == "randomised" else float(values @ values)
    law = power_law(values**2)
    top = float(values[0])
    return MatrixSpectrum(
        name=name,
        key=named.key if isinstance(named.key, str) else name,
        dtype=named.dtype,
        shape=(matrix.shape[0], matrix.shape[1]),
        index=index,
        method=method,
        spectral_norm=top,
        error=error,
        frobenius_norm=squares**0.5,
        stable_rank=squares / top**2 if top else None,
        effective_rank=_effective_rank(values) if method == "exact" else None,
        alpha=law.alpha if law else None,
        alpha_error=law.error if law else None,
        tail=law.size if law else 0,
        values=tuple(values[:rank].tolist()),
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
    flat = matrix.reshape(-1)
    total = 0.0
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        total += float(block @ block)
    return total


def _effective_rank(values: np.ndarray) -> float | None:
    """Return the exponential of the entropy of singular values as shares of their sum."""
    total = values.sum()
    if not total:
        return None
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))
