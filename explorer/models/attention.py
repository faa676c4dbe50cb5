"""Multi-head and grouped attention."""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures import specs
from explorer.errors import InputError
from explorer.models.linear import Linear
from explorer.models.masks import Sight
from explorer.models.norms import Norm
from explorer.models.rotary import rotate

__all__ = ["Attention", "Implementation", "Sinks", "attend", "by_cudnn", "unsupported"]

Implementation = Literal["xla", "cudnn"]
_FIELD = "Transformer(implementation=)"

# far below any logit, and finite: a query that sees nothing gets a mean, not NaN
_UNSEEN = -0.7 * float(jnp.finfo(jnp.float32).max)


class Sinks(nn.Module):
    """One learned logit a head."""

    spec: specs.Sinks
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self) -> jax.Array:
        """Return the logits [heads]."""
        return self.param(
            "sinks", nn.initializers.zeros, (self.spec.heads,), self.param_dtype
        )


class Attention(nn.Module):
    """Queries look at keys and bring back values."""

    spec: specs.Attention
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(self, x: jax.Array, sight: Sight) -> jax.Array:
        """Return [batch, length, size] of the same."""
        spec, dtype = self.spec, self.param_dtype
        query = Linear(spec.query, dtype, name="query")(x)
        key = Linear(spec.key, dtype, name="key")(x)
        value = self._heads(Linear(spec.value, dtype, name="value")(x))
        query = self._normed(spec.query_norm, query, "query_norm")
        key = self._normed(spec.key_norm, key, "key_norm")
        if spec.clip is not None:
            query, key, value = (
                jnp.clip(each, -spec.clip, spec.clip) for each in (query, key, value)
            )
        if spec.rope is not None and sight.rotation is not None:
            query, key = (
                rotate(each, sight.rotation, spec.rope.interleaved) for each in (query, key)
            )
        sinks = spec.sinks and Sinks(spec.sinks, dtype, name="sinks")()
        if by_cudnn(self.implementation):
            seen = attend_by_cudnn(spec, query, key, value, sight.padding)
        else:
            seen = attend(query, key, value, sight.mask, sinks, spec.scale, spec.softcap)
        return Linear(spec.out, dtype, name="out")(seen.reshape(*x.shape[:2], -1))

    @nn.nowrap
    def _heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], -1, self.spec.head_size)

    @nn.nowrap
    def _normed(self, spec: specs.Norm | None, x: jax.Array, name: str) -> jax.Array:
        """Return x in heads, normalised a head or, before, over all heads."""
        if spec is None:
            return self._heads(x)
        norm = Norm(spec, self.param_dtype, name=name)
        whole = spec.size != self.spec.head_size
        return self._heads(norm(x)) if whole else norm(self._heads(x))


def by_cudnn(implementation: str | None) -> bool:
    """Say whether attention is done by cuDNN.

    Raises:
        InputError: there is no such implementation.
    """
    if implementation not in (None, *get_args(Implementation)):
        raise InputError(
            _FIELD, found=repr(implementation), expected="None, 'xla' or 'cudnn'"
        )
    return implementation == "cudnn"


def attend_by_cudnn(
    spec: specs.Attention,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    padding: jax.Array | None,
) -> jax.Array:
    """Return what `attend` does, by NVIDIA's fused kernels, which never hold all logits.

    Args:
        spec: of the attention: which keys are seen is told and not masked.
        query, key, value: as `attend`, in bfloat16 or float16.
        padding: [batch, 1, 1, keys], false for keys that no query sees; None without any.

    Raises:
        InputError: the attention is of a kind that the kernels have not.
    """
    if spec.softcap is not None:
        raise unsupported("its logits are bounded by tanh")
    if spec.sinks is not None:
        raise unsupported("it has sinks")
    if spec.window is not None and not spec.causal:
        raise unsupported("its window is to both sides")
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=padding,
        scale=spec.scale,
        is_causal=spec.causal,
        local_window_size=None if spec.window is None else (spec.window - 1, 0),
        implementation="cudnn",
    )


def unsupported(why: str) -> InputError:
    """Return the error of attention that cuDNN's kernels have not."""
    return InputError(
        _FIELD,
        found=f"'cudnn' for attention that it cannot do: {why}",
        expected="None, for what XLA compiles",
    )


@partial(jax.jit, static_argnames=("scale", "softcap"))
def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    sinks: jax.Array | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
) -> jax.Array:
    """Return softmax(scale * query · key) · value, [batch, queries, heads, value entries].

    Args:
        query: [batch, queries, heads, entries].
        key: [batch, keys, heads that share, entries].
        value: [batch, keys, heads that share, value entries].
        mask: which keys a query sees, [batch or 1, 1, queries, keys]; None for all.
        sinks: [heads], logits that take part and give no value.
        scale: of the logits.
        softcap: bounds them, cap * tanh(logits / cap).
    """
    if softcap is None and sinks is None and value.shape == key.shape:
        return jax.nn.dot_product_attention(query, key, value, mask=mask, scale=scale)
    batch, length, heads, entries = query.shape
    shared = key.shape[2]
    grouped = query.reshape(batch, length, shared, heads // shared, entries)
    logits = scale * jnp.einsum(
        "bqhgd,bkhd->bhgqk", grouped, key, preferred_element_type=jnp.float32
    )
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    if mask is not None:
        logits = jnp.where(mask[:, :, None], logits, _UNSEEN)
    shares = _shares(logits, sinks).astype(value.dtype)
    return jnp.einsum("bhgqk,bkhd->bqhgd", shares, value).reshape(batch, length, heads, -1)


def _shares(logits: jax.Array, sinks: jax.Array | None) -> jax.Array:
    """Return the softmax over keys, and over a sink that is dropped."""
    if sinks is None:
        return jax.nn.softmax(logits)
    sink = sinks.astype(logits.dtype).reshape(*logits.shape[1:3], 1, 1)
    sink = jnp.broadcast_to(sink, (*logits.shape[:-1], 1))
    return jax.nn.softmax(jnp.concatenate([logits, sink], -1))[..., :-1]
