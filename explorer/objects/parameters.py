"""Which arrays of a tree are parameters: what training changes by gradient."""

from explorer.dtypes import is_trainable
from explorer.identify.state import state_of
from explorer.inventory.tensor import PARAMS
from explorer.tree.collections import collection_of

__all__ = ["is_learned", "is_parameter"]


def is_parameter(path: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> bool:
    """Return whether an array is a parameter, by its collection, name, shape and dtype.

    >>> is_parameter(("params", "dense", "bias"), (8,), "float32")
    True
    >>> is_parameter(("batch_stats", "norm", "mean"), (8,), "float32")
    False
    """
    return collection_of(path) in ("", PARAMS) and is_learned(path, shape, dtype)


def is_learned(path: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> bool:
    """Return whether an array of a collection of parameters is one, and not a buffer.

    >>> is_learned(("attention", "rotary", "inv_freq"), (64,), "float32")
    False
    """
    return is_trainable(dtype) and state_of(path, shape, dtype) is None
