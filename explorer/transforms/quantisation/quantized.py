"""A quantised tensor in a tree: small numbers and scales, in the place of the weights."""

import dataclasses
from math import prod
from typing import Any

import jax
import numpy as np
from jax import tree_util
from jax.core import Tracer

from explorer.transforms.quantisation.codecs import Codec, codec_of
from explorer.transforms.quantisation.pieces import Array, is_host

__all__ = ["Quantized"]


@tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Quantized:
    """Weights as a scheme stores them, with the shape and dtype that they stand for.

    A pytree whose children are the parts; leading axes (stacked layers, experts) are theirs, so that
    `jax.lax.scan` and `jax.vmap` slice it as they slice an array. No gradient flows into it.

    Attributes:
        parts: "values", and what turns them into weights: "scales", "zero_points" ...
        scheme: as `ex.quantize` reads it.
        matrix: the last two axes of the weights.
        kind: the dtype of the weights, by name.
        inputs_first: whether they are [inputs, outputs], as Flax has kernels; the parts always
            hold outputs first.

    >>> import explorer as ex, numpy as np
    >>> tree, change = ex.quantize({"mlp": {"kernel": np.eye(64, dtype="float32")}}, "int8")
    >>> tree["mlp"]["kernel"]
    Quantized(int8, [64, 64] of float32 in 4,352 bytes)
    >>> float(tree["mlp"]["kernel"].dequantize()[3, 3])
    1.0
    """

    parts: dict[str, Array]
    scheme: str
    matrix: tuple[int, int]
    kind: str = "float32"
    inputs_first: bool = False

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """Return the parts with their names, and what is not an array."""
        names = tuple(sorted(self.parts))  # as JAX sorts them where it makes them
        children = [(tree_util.GetAttrKey(name), self.parts[name]) for name in names]
        return children, (names, self.scheme, self.matrix, self.kind, self.inputs_first)

    def tree_flatten(self) -> tuple[Any, Any]:
        """Return the parts, and what is not an array."""
        children, static = self.tree_flatten_with_keys()
        return [part for _, part in children], static

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> "Quantized":
        """Return the tensor of what `tree_flatten` returned."""
        names, *rest = static
        return cls(dict(zip(names, children, strict=True)), *rest)

    @classmethod
    def of(cls, weights: Array, scheme: str, inputs_first: bool = False) -> "Quantized":
        """Return weights [..., a, b] quantised; leading axes hold matrices of their own.

        >>> Quantized.of(np.ones((2, 8, 4), "float32"), "int8").shape
        (2, 8, 4)
        """
        codec = codec_of(scheme)
        kind, (*stack, first, second) = weights.dtype.name, weights.shape
        rows = weights.reshape(-1, first, second).astype(np.float32)
        rows = rows.swapaxes(1, 2) if inputs_first else rows
        found = encoded(codec, rows)
        parts = {
            name: part.reshape(*stack, *part.shape[1:]) for name, part in found.items()
        }
        return cls(parts, codec.scheme, (first, second), kind, inputs_first)

    @property
    def values(self) -> Array:
        """The stored numbers."""
        return self.parts["values"]

    @property
    def scales(self) -> Array | None:
        """What multiplies them; None where the values hold their own."""
        return self.parts.get("scales")

    @property
    def zero_points(self) -> Array | None:
        """What is subtracted before that; None where the scheme is symmetric."""
        return self.parts.get("zero_points")

    @property
    def codec(self) -> Codec:
        """How the scheme encodes and decodes."""
        return codec_of(self.scheme)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights."""
        values = self.values
        return (*values.shape[: len(values.shape) - self.codec.rank], *self.matrix)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the weights."""
        return np.dtype(jax.numpy.dtype(self.kind))

    @property
    def ndim(self) -> int:
        """The number of axes of the weights."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of weights."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Stored bytes of all parts."""
        return sum(prod(p.shape) * np.dtype(p.dtype).itemsize for p in self.parts.values())

    def rows(self) -> Array:
        """Return the weights in float32 with outputs before inputs: [..., outputs, inputs]."""
        first, second = self.matrix
        outputs, inputs = (second, first) if self.inputs_first else (first, second)
        stack = self.shape[:-2]
        flat = {
            name: part.reshape(prod(stack), *part.shape[len(stack) :])
            for name, part in self.parts.items()
        }
        decode = self.codec.decode
        if all(is_host(part) for part in self.parts.values()):
            found = [
                decode({name: part[n] for name, part in flat.items()}, outputs, inputs)
                for n in range(prod(stack))
            ]
            empty = np.zeros((0, outputs, inputs), np.float32)
            return (np.stack(found) if found else empty).reshape(*stack, outputs, inputs)
        # of jax.grad's arguments, floats are traced where NumPy's integers are not
        flat = {name: jax.numpy.asarray(part) for name, part in flat.items()}
        flat = jax.lax.stop_gradient(flat)
        if not stack:
            return decode({name: part[0] for name, part in flat.items()}, outputs, inputs)
        decoded = jax.vmap(lambda parts: decode(parts, outputs, inputs))(flat)
        return decoded.reshape(*stack, outputs, inputs)

    def dequantize(self) -> Array:
        """Return the weights in their own shape and dtype, of NumPy where the parts are."""
        found = self.rows()
        found = found.swapaxes(-1, -2) if self.inputs_first else found
        return found.astype(self.dtype)

    def __getitem__(self, index: Any) -> Array:
        """Return some of the weights, as an array has them: Flax's NNX reads `kernel[...]`."""
        return self.dequantize()[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the weights as NumPy takes them."""
        return np.asarray(self.dequantize(), dtype=dtype)

    def __jax_array__(self) -> jax.Array:
        """Return the weights as the functions of `jax.numpy` take them."""
        return jax.numpy.asarray(self.dequantize())

    def __repr__(self) -> str:
        if not all(hasattr(part, "shape") for part in self.parts.values()):
            return f"Quantized({self.scheme})"  # the tree of something else
        shape = list(self.shape)
        return f"Quantized({self.scheme}, {shape} of {self.kind} in {self.nbytes:,} bytes)"


def encoded(codec: Codec, rows: Array) -> dict[str, Array]:
    """Return the parts of matrices [n, outputs, inputs] in float32, each part [n, ...]."""
    if not is_host(rows) and isinstance(rows, Tracer):
        return jax.vmap(codec.encode)(rows)
    on_host = np.asarray(rows)
    found = [codec.encode(np.ascontiguousarray(matrix)) for matrix in on_host]
    if not found:
        shapes = codec.encode(np.zeros(rows.shape[1:], np.float32))
        return {name: part[None][:0] for name, part in shapes.items()}
    parts = {
        name: np.stack([each[name] for each in found])
        if len(found) > 1
        else found[0][name][None]
        for name in found[0]
    }
    if is_host(rows):
        return parts
    return {name: jax.numpy.asarray(part) for name, part in parts.items()}
