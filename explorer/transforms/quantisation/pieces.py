"""Functions of rows that run compiled, on pieces of bounded size, or in NumPy: the same bits.

A function takes rows [n, ...] and returns arrays whose first axis follows that of its rows. XLA
computes with subnormal numbers as zeros, divides by a constant as it multiplies, and fuses a
product with a sum; `flushed`, `quotient` and `product` make NumPy and XLA agree.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["flushed", "in_pieces", "is_host", "product", "quotient", "space_of", "to_host"]

Array = Any  # NumPy's or JAX's
Parts = dict[str, Array]

_PIECE = 1 << 21  # elements
_SMALL = 1 << 17  # elements that NumPy encodes sooner than XLA compiles
_TINY = np.finfo(np.float32).tiny
_LARGEST = np.finfo(np.float32).max


def is_host(array: Array) -> bool:
    """Return whether an array is one of NumPy."""
    return isinstance(array, np.ndarray | np.generic)


def space_of(array: Array) -> Any:
    """Return the module whose functions compute with an array: numpy or jax.numpy."""
    return np if is_host(array) else jnp


def to_host(array: Array) -> np.ndarray:
    """Return the values of an array of the host or of a device."""
    return np.asarray(array)


def flushed(array: Array) -> Array:
    """Return float32 numbers with zeros, of the same sign, for subnormal ones.

    >>> flushed(np.array([1e-40, -1e-40, 1.0], np.float32)).tolist()
    [0.0, -0.0, 1.0]
    """
    if not is_host(array):
        return array
    small = np.abs(array) < _TINY
    return (
        np.where(small, np.copysign(np.float32(0), array), array) if small.any() else array
    )


def quotient(numbers: Array, divisor: float) -> Array:
    """Return float32 numbers of at least zero over one that is known beforehand.

    >>> float(quotient(np.array(7, np.float32), 127))
    0.05511811003088951
    """
    if is_host(numbers):
        return numbers / np.float32(divisor)
    # XLA multiplies by the reciprocal of a constant, and cannot tell that this is one
    return numbers / jnp.where(numbers >= 0, jnp.float32(divisor), jnp.float32(1))


def product(left: Array, right: Array) -> Array:
    """Return a product that is rounded before anything is added to it."""
    found = left * right
    # XLA would fuse it with a sum; it cannot tell that the maximum changes nothing
    return flushed(found) if is_host(found) else jnp.maximum(found, -_LARGEST)


def in_pieces(
    fn: Callable[..., Parts], rows: Array, *given: Array, multiple: int = 1
) -> Parts:
    """Return `fn(rows, *given)`, computed piece by piece where rows are many.

    Args:
        fn: the same object for the same computation, which is compiled once a shape.
        rows: [n, ...], in float32, of the host or of a device; or traced.
        given: what every piece needs.
        multiple: rows that belong together.
    """
    if not is_host(rows):
        return _compiled(fn)(rows, *given)
    if rows.size <= _SMALL or not rows.shape[0]:
        with np.errstate(all="ignore"):
            return fn(rows, *given)
    at_once = max(_PIECE * rows.shape[0] // rows.size // multiple, 1) * multiple
    if at_once >= rows.shape[0]:
        return {name: np.array(part) for name, part in _compiled(fn)(rows, *given).items()}
    return _joined(_compiled(fn), rows, given, at_once)


def _joined(fn: Callable[..., Parts], rows: np.ndarray, given: Any, at_once: int) -> Parts:
    whole: dict[str, np.ndarray] = {}
    for start in range(0, rows.shape[0], at_once):
        piece = rows[start : start + at_once]
        if len(piece) < at_once:  # of one shape, so that nothing is compiled again
            padded = np.zeros((at_once, *rows.shape[1:]), rows.dtype)
            padded[: len(piece)] = piece
            piece = padded
        for name, part in fn(piece, *given).items():
            part = np.asarray(part)
            if name not in whole:
                length = -(-rows.shape[0] * part.shape[0] // at_once)
                whole[name] = np.empty((length, *part.shape[1:]), part.dtype)
            first = start * part.shape[0] // at_once
            target = whole[name][first : first + part.shape[0]]
            target[...] = part[: len(target)]
    return whole


@lru_cache(maxsize=256)
def _compiled(fn: Callable[..., Parts]) -> Callable[..., Parts]:
    return jax.jit(fn)
