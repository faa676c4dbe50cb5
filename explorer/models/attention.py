"""Multi-head and grouped-query attention."""

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.attention_specs import AttentionSpec, SinksSpec
from explorer.architectures.specs import NormSpec
from explorer.errors import InputError
from explorer.models.cache import CacheView, DecodeStep, KeysValues
from explorer.models.linear import Linear
from explorer.models.masks import AttentionInputs
from explorer.models.norms import Norm
from explorer.models.rotary import rotate

__all__ = ["Attention", "Implementation", "Sinks", "attend", "unsupported", "uses_cudnn"]

Implementation = Literal["xla", "cudnn"]
_FIELD = "Transformer(implementation=)"

# below any logit, but finite: a query without keys gets a mean instead of NaN
_UNSEEN = -0.7 * float(jnp.finfo(jnp.float32).max)


class Sinks(nn.Module):
    """One learned logit per head."""

    spec: SinksSpec
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self) -> jax.Array:
        """Return the logits [heads]."""
        return self.param(
            "sinks", nn.initializers.zeros, (self.spec.heads,), self.param_dtype
        )


class Attention(nn.Module):
    """Multi-head or grouped-query attention."""

    spec: AttentionSpec
    param_dtype: DTypeLike = jnp.float32
    implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self, x: jax.Array, inputs: AttentionInputs, cache: CacheView | None = None
    ) -> Any:
        """Return the output [batch, length, size] for hidden states of the same shape.

        With a cache, also the cache with the keys and values of these tokens.
        """
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
        if spec.rope is not None and inputs.rotation is not None:
            query, key = (
                rotate(each, inputs.rotation, spec.rope.interleaved)
                for each in (query, key)
            )
        stored = None
        if cache is not None:
            stored, kept = cache.keep(inputs.cache, KeysValues(key, value))
            if isinstance(inputs.cache, DecodeStep):
                key, value = (each.astype(x.dtype) for each in kept)
        sinks = spec.sinks and Sinks(spec.sinks, dtype, name="sinks")()
        if uses_cudnn(self.implementation) and not isinstance(inputs.cache, DecodeStep):
            out = attend_with_cudnn(spec, query, key, value, inputs.padding)
        else:
            out = attend(query, key, value, inputs.mask, sinks, spec.scale, spec.softcap)
        out = Linear(spec.out, dtype, name="out")(out.reshape(*x.shape[:2], -1))
        return out if cache is None else (out, stored)

    @nn.nowrap
    def _heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:2], -1, self.spec.head_size)

    @nn.nowrap
    def _normed(self, spec: NormSpec | None, x: jax.Array, name: str) -> jax.Array:
        """Return x split into heads, normalised per head or, before, over all heads."""
        if spec is None:
            return self._heads(x)
        norm = Norm(spec, self.param_dtype, name=name)
        per_head = spec.size == self.spec.head_size
        return norm(self._heads(x)) if per_head else self._heads(norm(x))


def uses_cudnn(implementation: str | None) -> bool:
    """Return whether attention is computed by cuDNN.

    Raises:
        InputError: an unknown implementation.
    """
    if implementation not in (None, *get_args(Implementation)):
        raise InputError(
            _FIELD, found=repr(implementation), expected="None, 'xla' or 'cudnn'"
        )
    return implementation == "cudnn"


def attend_with_cudnn(
    spec: AttentionSpec,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    padding: jax.Array | None,
) -> jax.Array:
    """Return the same as `attend`, by NVIDIA's fused kernels, which never store all logits.

    Args:
        spec: of the attention; causality and window are passed as options, not as a mask.
        query, key, value: as in `attend`, in bfloat16 or float16.
        padding: [batch, 1, 1, keys], false for keys that no query attends to, or None.

    Raises:
        InputError: the kernels do not support this kind of attention.
    """
    if spec.softcap is not None:
        raise unsupported("its logits are bounded by tanh")
    if spec.sinks is not None:
        raise unsupported("it has sinks")
    if spec.window is not None and not spec.causal:
        raise unsupported("its window is on both sides")
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
    """Return the error for attention that cuDNN's kernels do not support."""
    return InputError(
        _FIELD,
        found=f"'cudnn' for attention that it does not support: {why}",
        expected="None, which compiles it with XLA",
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
        key: [batch, keys, key-value heads, entries].
        value: [batch, keys, key-value heads, value entries].
        mask: the keys that a query attends to, [batch or 1, 1, queries, keys]; None for all.
        sinks: [heads], logits that take part in the softmax and have no value.
        scale: of the logits.
        softcap: bounds the logits, cap * tanh(logits / cap).
    """
    if softcap is None and sinks is None and value.shape == key.shape:
        return jax.nn.dot_product_attention(query, key, value, mask=mask, scale=scale)
    batch, length, heads, entries = query.shape
    kv_heads = key.shape[2]
    grouped = query.reshape(batch, length, kv_heads, heads // kv_heads, entries)
    logits = scale * jnp.einsum(
        "bqhgd,bkhd->bhgqk", grouped, key, preferred_element_type=jnp.float32
    )
    if softcap is not None:
        logits = softcap * jnp.tanh(logits / softcap)
    if mask is not None:
        logits = jnp.where(mask[:, :, None], logits, _UNSEEN)
    weights = _softmax(logits, sinks).astype(value.dtype)
    return jnp.einsum("bhgqk,bkhd->bqhgd", weights, value).reshape(batch, length, heads, -1)


def _softmax(logits: jax.Array, sinks: jax.Array | None) -> jax.Array:
    """Return the softmax over keys and a sink, whose own share is dropped."""
    if sinks is None:
        return jax.nn.softmax(logits)
    sink = sinks.astype(logits.dtype).reshape(*logits.shape[1:3], 1, 1)
    sink = jnp.broadcast_to(sink, (*logits.shape[:-1], 1))
    return jax.nn.softmax(jnp.concatenate([logits, sink], -1))[..., :-1]
