"""x @ kernel + bias: alone, or stacked with rows sorted by expert."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from explorer.architectures import specs

__all__ = ["Groups", "Linear", "normal"]

normal = nn.initializers.normal(0.02)


class Groups(NamedTuple):
    """Which rows belong to which expert, rows of one expert side by side.

    `sizes` [experts] are the rows of each; `experts` [rows] the expert of each row.
    """

    sizes: jax.Array
    experts: jax.Array


class Linear(nn.Module):
    """A linear layer, in the number format of what comes in."""

    spec: specs.Linear
    param_dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = normal

    @nn.compact
    def __call__(self, x: jax.Array, groups: Groups | None = None) -> jax.Array:
        """Return [..., outputs] of [..., inputs].

        Args:
            x: the stream; [rows, inputs] where the layer is stacked.
            groups: which expert sees which row, where the layer is stacked.
        """
        shapes = self.spec.parameters()
        kernel = self.param("kernel", self.kernel_init, shapes["kernel"], self.param_dtype)
        kernel = jnp.asarray(kernel, x.dtype)
        if groups is None:
            # of two axes: XLA's CPU backend makes copies for the gradient of more
            rows = x.reshape(-1, x.shape[-1]) @ kernel
            y = rows.reshape(*x.shape[:-1], kernel.shape[-1])
        else:
            y = jax.lax.ragged_dot(x, kernel, groups.sizes)
        if not self.spec.bias:
            return y
        zeros = nn.initializers.zeros
        bias = self.param("bias", zeros, shapes["bias"], self.param_dtype)
        bias = jnp.asarray(bias, x.dtype)
        return y + (bias if groups is None else bias[groups.experts])
