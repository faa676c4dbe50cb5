"""x @ kernel + bias, or a stack of them applied to rows sorted by expert."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from explorer.architectures.specs import LinearSpec
from explorer.models.grouped import grouped_product

__all__ = ["ExpertGroups", "Linear", "normal"]

normal = nn.initializers.normal(0.02)


class ExpertGroups(NamedTuple):
    """The expert of each row, rows sorted by expert.

    `sizes` [experts] is the number of rows per expert, `experts` [rows] the expert of a row.
    """

    sizes: jax.Array
    experts: jax.Array


class Linear(nn.Module):
    """A linear layer, computed in the dtype of its input."""

    spec: LinearSpec
    param_dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = normal

    @nn.compact
    def __call__(self, x: jax.Array, groups: ExpertGroups | None = None) -> jax.Array:
        """Return [..., outputs] for [..., inputs].

        Args:
            x: the input; [rows, inputs] if the layer is stacked.
            groups: the expert of each row, if the layer is stacked.
        """
        shapes = self.spec.parameters()
        y = self._product(x, shapes["kernel"], groups)
        if not self.spec.bias:
            return y
        zeros = nn.initializers.zeros
        bias = self.param("bias", zeros, shapes["bias"], self.param_dtype)
        bias = jnp.asarray(bias, x.dtype)
        return y + (bias if groups is None else bias[groups.experts])

    @nn.nowrap
    def _product(
        self, x: jax.Array, shape: tuple[int, ...], groups: ExpertGroups | None
    ) -> jax.Array:
        own = self.get_variable("params", "kernel")
        if hasattr(own, "times"):  # in factors, or quantised: it multiplies by itself
            return own.times(x, groups)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        kernel = jnp.asarray(kernel, x.dtype)
        if groups is not None:
            return grouped_product(x, kernel, groups.sizes)
        # as a matrix: with more axes, XLA's CPU backend copies in the gradient
        rows = x.reshape(-1, x.shape[-1]) @ kernel
        return rows.reshape(*x.shape[:-1], kernel.shape[-1])
