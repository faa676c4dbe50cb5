"""Weights quantised and dequantised, with a record of what changed."""

from typing import TYPE_CHECKING, Any

from explorer.errors import TreeError
from explorer.targets import Checkpoint, Tree, resolve

if TYPE_CHECKING:
    from explorer.transforms.records import Change

__all__ = ["dequantize", "quantize"]


def quantize(
    target: Any, scheme: str, select: str | None = None, *, measure: bool = True
) -> "tuple[Any, Change]":
    """Return a model's weights quantised, and the record of what that changed.

    Kernels of linear layers are, and what else the scheme is for; all other tensors stay as they
    are. What is returned has the structure of the target, with `Quantized` in the places of arrays.

    Args:
        target: parameters, an NNX or Equinox module; or a checkpoint, of which a nested dict of
            NumPy arrays is made.
        scheme: its name with options: "int8", "int8:asym", "int4:g64:search", "nf4:double",
            "fp8:block", "mxfp4" ...
        select: a glob over paths, of the matrices to quantise instead.
        measure: whether the error of each tensor is measured.

    Returns:
        `(tree, change)`.

    Raises:
        InputError: an unknown scheme, a matrix that its groups do not divide, weights that are not
            finite or quantised already, or nothing to quantise.

    >>> import numpy as np
    >>> tree, change = quantize({"mlp": {"kernel": np.eye(128, dtype="float32")}}, "nf4")
    >>> tree["mlp"]["kernel"].shape, change.bits_after, change.relative_error
    ((128, 128), 4.5, 0.0)
    """
    from explorer.targets.inventories import inventory_of
    from explorer.transforms.quantisation.selection import Selection
    from explorer.transforms.quantisation.trees import Quantiser

    found = resolve(target)
    match found:
        case Checkpoint():
            from explorer.targets.lazy import lazy_tensors
            from explorer.transforms.quantisation.trees import (
                LoadedTensor,
                quantise_tensors,
            )

            quantiser = Quantiser(Selection(inventory_of(found), scheme, select), measure)
            tensors = (
                LoadedTensor(each.key, each.kind, each.load) for each in lazy_tensors(found)
            )
            return quantise_tensors(tensors, quantiser)
        case Tree(value):
            from explorer.objects.pytree import arrays_of
            from explorer.transforms.quantisation.trees import quantise_tree

            quantiser = Quantiser(Selection(inventory_of(found), scheme, select), measure)
            return quantise_tree(value, arrays_of(value), quantiser)
    raise TreeError(
        getattr(found, "name", "") or type(target).__name__,
        found="has shapes and no values",
        expected="a checkpoint, or a tree or a module that holds arrays",
        cure="`explorer plan --quantize` says what it would take",
    )


def dequantize(tree: Any) -> Any:
    """Return a tree with plain arrays in the places of quantised ones, in their own dtypes.

    It can be called inside `jax.jit`, where the arrays exist only while they are used.

    Args:
        tree: any pytree with `Quantized`, or qwix's `QArray`, in it.

    >>> import numpy as np
    >>> tree, _ = quantize({"mlp": {"kernel": np.eye(128, dtype="float32")}}, "int8")
    >>> float(dequantize(tree)["mlp"]["kernel"].sum())
    128.0
    """
    from explorer.transforms.quantisation.trees import dequantise

    return dequantise(tree)
