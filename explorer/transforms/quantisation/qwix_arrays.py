"""qwix's arrays: dequantised without qwix, and made of explorer's quantised tensors.

References:
    google/qwix 0.1.8, qwix/_src/core/qarray.py: what a `QArray` stands for.
"""

from typing import Any

import jax
import jax.numpy as jnp

from explorer.errors import InputError, MissingPackageError
from explorer.transforms.quantisation.float8 import Float8
from explorer.transforms.quantisation.integers import Integers, unpacked
from explorer.transforms.quantisation.quantized import Quantized
from explorer.transforms.quantisation.torchao_layouts import CHANNELS, Int8WeightOnly

__all__ = ["from_qwix", "is_qwix", "to_qwix"]


def is_qwix(node: Any) -> bool:
    """Return whether a node is qwix's: a `QArray`, or one with how it was quantised.

    >>> is_qwix({"kernel": 1.0})
    False
    """
    kind = type(node)
    return kind.__name__ in ("QArray", "WithAux") and kind.__module__.startswith("qwix")


def from_qwix(node: Any) -> jax.Array:
    """Return the weights that a node of qwix stands for, in the dtype of its scales."""
    array = node.array if type(node).__name__ == "WithAux" else node
    values, scales = jnp.asarray(array.qvalue).astype(jnp.float32), jnp.asarray(array.scale)
    if array.zero_point is not None:
        zeros = jnp.asarray(array.zero_point).astype(jnp.float32)
        values = values - _spread(zeros, values.shape)
    return (values * _spread(scales.astype(jnp.float32), values.shape)).astype(scales.dtype)


def _spread(scales: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return scales of tiles as large as what they multiply."""
    for axis, size in enumerate(shape):
        scales = jnp.repeat(scales, size // scales.shape[axis], axis)
    return scales


def to_qwix(tree: Any) -> Any:
    """Return a tree with qwix's `QArray` in the places of quantised tensors.

    Args:
        tree: any pytree with `Quantized` of int8, int4 or fp8 schemes in it.

    Raises:
        MissingPackageError: qwix is not installed.
        InputError: a scheme that qwix has no array for, or groups that do not divide a matrix.
    """
    try:
        from qwix import QArray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingPackageError(
            "to_qwix", found="needs qwix", cure="pip install qwix"
        ) from None

    def made(leaf: Any) -> Any:
        return QArray(**qwix_fields(leaf)) if isinstance(leaf, Quantized) else leaf

    return jax.tree.map(made, tree, is_leaf=lambda node: isinstance(node, Quantized))


def qwix_fields(tensor: Quantized) -> dict[str, Any]:
    """Return the fields of the `QArray` of a quantised tensor.

    Raises:
        InputError: a scheme that qwix has no array for, or groups that do not divide a matrix.
    """
    layout, parts = tensor.codec.layout, tensor.parts
    inputs = tensor.matrix[0 if tensor.inputs_first else 1]
    if isinstance(layout, Int8WeightOnly):
        layout = CHANNELS
    zeros = parts.get("zero_points")
    if isinstance(layout, Integers) and len(tensor.shape) == 2:
        if layout.group and inputs % layout.group:
            raise InputError(
                "to_qwix",
                found=f"has no tiles of {layout.group} in {inputs:,} inputs",
                expected="a group that divides them",
            )
        values = jnp.asarray(unpacked(parts["values"], layout.bits, inputs))
        values = values.astype(jnp.int4) if layout.bits == 4 else values
        scales = layout.steps(parts)
    elif isinstance(layout, Float8) and layout.spread != "block":
        values, scales = parts["values"], parts["scales"]
    else:
        raise InputError(
            "to_qwix",
            found=f"qwix has no array for {tensor!r}",
            expected="a matrix under int8, int4, fp8 or fp8:channel",
        )
    fields = {"qvalue": values, "scale": scales, "zero_point": zeros}
    fields = {n: None if p is None else jnp.asarray(p) for n, p in fields.items()}
    if zeros is not None:
        fields["zero_point"] = fields["zero_point"].astype(fields["qvalue"].dtype)
    if tensor.inputs_first:
        fields = {n: None if p is None else p.T for n, p in fields.items()}
    return {**fields, "qtype": fields["qvalue"].dtype}
