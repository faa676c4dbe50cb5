"""Conversion of array arguments to NumPy, and comparison of their values."""

from typing import TYPE_CHECKING, Any

from explorer.errors import TreeError, printable

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.pieces import Pieces

__all__ = ["FLOATS", "array_of", "same_values", "whole_of"]

FLOATS = ("float16", "bfloat16", "float32", "float64")
_CHUNK = 1 << 22  # entries compared at a time


def array_of(value: Any, place: str, name: str = "") -> "np.ndarray":
    """Return an array of NumPy, JAX or another library as NumPy, without a copy if possible.

    Args:
        value: the array.
        place: what errors call its source.
        name: what errors call the array; empty if `place` already names it.

    Raises:
        TreeError: not an array, or one whose values NumPy cannot represent or access.
    """
    import numpy as np

    shown = f"{printable(name)} is" if name else "is"
    kind = type(value).__name__
    if not hasattr(value, "__array__"):
        lacks = ", which holds no values" if hasattr(value, "shape") else ""
        raise TreeError(
            place, found=f"{shown} {kind}{lacks}", expected="an array of NumPy or JAX"
        )
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        # a tracer, a donated array, a dtype that NumPy lacks
        raise TreeError(
            place,
            found=f"{shown} {kind}, whose values NumPy cannot read",
            expected="an array of NumPy or JAX that holds values",
        ) from None


def same_values(a: "np.ndarray", b: "np.ndarray") -> bool:
    """Return whether two arrays of one shape hold the same numbers, or the same bytes.

    >>> import numpy as np
    >>> same_values(np.ones(3, "float16"), np.ones(3)), same_values(np.ones(3), np.zeros(3))
    (True, False)
    """
    import numpy as np

    if a.ndim == 0:
        a, b = a[None], b[None]
    rows = max(1, _CHUNK * len(a) // max(1, a.size))
    for start in range(0, len(a), rows):
        x, y = a[start : start + rows], b[start : start + rows]
        if x.dtype == y.dtype and x.tobytes() == y.tobytes():
            continue
        wide = x.astype("float64"), y.astype("float64")
        if not np.array_equal(*wide, equal_nan=True):
            return False
    return True


def whole_of(tensor: "np.ndarray | Pieces") -> "np.ndarray":
    """Return a tensor whole; one in pieces is decoded."""
    from explorer.formats.pieces import Pieces

    return tensor.whole() if isinstance(tensor, Pieces) else tensor
