"""Named arrays -> the spectra of those that are matrices."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from explorer import dtypes
from explorer.paths import name_of
from explorer.values.arrays import NamedValues, check_addressable
from explorer.values.records import MatrixSpectrum, Spectrum
from explorer.values.spectra import EXACT, leading_values, power_law, singular_values

__all__ = ["spectra_of"]

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
    packed = 0
    for named in arrays:
        array, name = named.array, name_of(named.key)
        if named.is_packed:
            packed += 1
            continue
        is_float = dtypes.find(array.dtype.name).kind == "float"
        if len(array.shape) < 2 or not (is_float and named.is_parameter):
            continue
        if len(array.shape) > 2 or min(array.shape) < 2:
            others += 1
            continue
        check_addressable(name, array)
        matrix = np.asarray(array)
        if not _is_finite(matrix):
            notes.append(f"{name}: has NaN or infinities, and no spectrum")
            continue
        matrices.append(_spectrum(named, name, matrix, rank or _RANK, notes))
    if packed:
        notes.append(f"{packed:,} quantised tensors are not dequantised: left out")
    if others:
        notes.append(f"{others:,} tensors are not matrices (two axes, neither 1): left out")
    return Spectrum(target=target, matrices=tuple(matrices), notes=tuple(notes))


def _is_finite(matrix: np.ndarray) -> bool:
    flat = matrix.reshape(-1)
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    return all(np.isfinite(block.astype(np.float32)).all() for block in blocks)


def _spectrum(
    named: NamedValues, name: str, matrix: np.ndarray, rank: int, notes: list[str]
) -> MatrixSpectrum:
    method, values, error = _values(name, matrix, rank, notes)
    squares = _squares(matrix) if method == "randomised" else float(values @ values)
    law = power_law(values**2)
    top = float(values[0])
    return MatrixSpectrum(
        name=name,
        key=named.key if isinstance(named.key, str) else name,
        dtype=named.dtype,
        shape=(matrix.shape[0], matrix.shape[1]),
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
