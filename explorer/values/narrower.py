"""The narrowest format that holds every number of an array exactly."""

from itertools import chain

import ml_dtypes
import numpy as np

from explorer.values.blocks import flat_parts

__all__ = ["narrower_format"]

_FLOATS = ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float32")
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
_GLANCE = 4096  # elements: most tensors end in the first of them


def narrower_format(
    array: np.ndarray, low: float, high: float, is_own: bool = False
) -> str:
    """Return the narrowest format that holds every element exactly, or "" for none.

    Args:
        array: contiguous, not empty, of floats or integers.
        low, high: its extremes.
        is_own: whether nothing else has seen it: pages of a mapped file are given back.

    >>> narrower_format(np.float64([1.5, 2.001]), 1.5, 2.001), narrower_format(np.arange(9), 0, 8)
    ('', 'int8')
    """
    size = array.dtype.itemsize
    if array.dtype.kind in "iu":
        for name in _INTEGERS:
            range_of = np.iinfo(name)
            if (
                np.dtype(name).itemsize < size
                and range_of.min <= low <= high <= range_of.max
            ):
                return name
        return ""
    fitting = [kind for name in _FLOATS if (kind := _format(name)).itemsize < size]
    first = array.reshape(-1)[:_GLANCE]
    with np.errstate(all="ignore"):
        for _, part in chain([(0, first)], flat_parts(array, is_own)):
            fitting = [kind for kind in fitting if _holds(kind, part)]
            if not fitting:
                return ""
    return fitting[0].name


def _format(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def _holds(kind: np.dtype, part: np.ndarray) -> bool:
    return bool((part == part.astype(kind).astype(part.dtype)).all())
