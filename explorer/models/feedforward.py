"""Feed-forward networks, plain and gated."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.specs import Activation, MlpSpec
from explorer.models.linear import ExpertGroups, Linear

__all__ = ["ACTIVATIONS", "Mlp"]


def _quick_gelu(x: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(1.702 * x)


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "gelu": _gelu,
    "gelu_tanh": jax.nn.gelu,
    "quick_gelu": _quick_gelu,
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}


class Mlp(nn.Module):
    """A feed-forward network, or a stack of them if its layers are stacked (experts)."""

    spec: MlpSpec
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, groups: ExpertGroups | None = None) -> jax.Array:
        """Return the output [..., size]; experts need the groups of their rows."""
        spec, dtype = self.spec, self.param_dtype
        activate = ACTIVATIONS[spec.activation]
        up = Linear(spec.up_proj, dtype, name="up_proj")(x, groups)
        if spec.gate_proj is None:
            inner = activate(up)
        else:
            gate = Linear(spec.gate_proj, dtype, name="gate_proj")(x, groups)
            if spec.limit is not None:
                gate = jnp.minimum(gate, spec.limit)
                up = jnp.clip(up, -spec.limit, spec.limit)
            inner = activate(gate) * (up + spec.up_offset if spec.up_offset else up)
        return Linear(spec.down_proj, dtype, name="down_proj")(inner, groups)
