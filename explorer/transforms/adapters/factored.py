"""A kernel in factors: x W + scale (x A) B where it is used, W + scale A B nowhere."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from explorer.models.grouped import grouped_product
from explorer.transforms.adapters.trees import is_quantized, unpacked

__all__ = ["FactoredKernel"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class FactoredKernel:
    """A frozen kernel and its adapter, in the place of the kernel of explorer's `Linear`.

    A pytree: `jax.lax.scan` slices stacked layers of it as it slices arrays.

    Attributes:
        base: [..., inputs, outputs], an array or quantised; what is quantised has no gradient.
        lora_a: [..., inputs, rank]; None where nothing is adapted.
        lora_b: [..., rank, outputs].
        magnitude: [..., outputs], None but for DoRA.
        scale: what A B is multiplied by.

    >>> kernel = FactoredKernel(2 * jnp.eye(3), jnp.ones((3, 1)), jnp.ones((1, 3)), None, 0.5)
    >>> kernel.times(jnp.ones((1, 3))).tolist()
    [[3.5, 3.5, 3.5]]
    """

    base: Any
    lora_a: Any
    lora_b: Any
    magnitude: Any
    scale: float = field(metadata={"static": True})

    def times(self, x: jax.Array, groups: Any = None) -> jax.Array:
        """Return [..., outputs] for x [..., inputs], in the dtype of x.

        Args:
            x: the input; rows sorted by expert where the kernel is a stack of experts'.
            groups: `sizes` and `experts` of these rows.
        """
        sizes = None if groups is None else groups.sizes
        if is_quantized(self.base):
            y = _frozen_product(x, self.base, sizes)
        else:
            y = _product(x, jnp.asarray(self.base, x.dtype), sizes)
        if self.lora_a is None:
            return y
        wide = jnp.promote_types(x.dtype, self.lora_a.dtype)
        inner = _product(x.astype(wide), self.lora_a.astype(wide), sizes)
        change = _product(inner, self.lora_b.astype(wide), sizes)
        y = y.astype(wide) + change * self.scale
        if self.magnitude is not None:
            ratio = self.magnitude / self._norms()
            ratio = ratio if groups is None else ratio[groups.experts]
            y = y * ratio.astype(wide)
        return y.astype(x.dtype)

    def _norms(self) -> jax.Array:
        """Return the norms of the columns in effect, constants in the backward pass."""
        base, a, b = lax.stop_gradient((self.base, self.lora_a, self.lora_b))
        change = jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
        matrices = unpacked(base).astype(jnp.float32) + change * self.scale
        return jnp.sqrt(jnp.square(matrices).sum(-2))


def _product(x: jax.Array, kernel: jax.Array, sizes: jax.Array | None) -> jax.Array:
    """Return x times a matrix, or rows of x times the matrix of each one's group."""
    if sizes is not None:
        return grouped_product(x, kernel, sizes)
    # as a matrix: with more axes, XLA's CPU backend copies in the gradient
    rows = x.reshape(-1, x.shape[-1]) @ kernel
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


@jax.custom_vjp
def _frozen_product(x: jax.Array, kernel: Any, sizes: jax.Array | None) -> jax.Array:
    """Return x times a quantised kernel, which is dequantised again in the backward pass."""
    return _product(x, unpacked(kernel).astype(x.dtype), sizes)


def _forward(x: jax.Array, kernel: Any, sizes: jax.Array | None) -> tuple[Any, Any]:
    return _frozen_product(x, kernel, sizes), (kernel, sizes)


def _backward(kept: Any, gradient: jax.Array) -> tuple[Any, None, None]:
    kernel, sizes = kept
    # without the barrier XLA finds the weights of the forward pass, and keeps those of all layers
    kernel, gradient = lax.optimization_barrier((kernel, gradient))
    matrix = unpacked(kernel).astype(gradient.dtype).swapaxes(-1, -2)
    return _product(gradient, matrix, sizes), None, None


_frozen_product.defvjp(_forward, _backward)
