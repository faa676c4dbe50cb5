"""Mixtures of experts: each token is processed only by the experts its router selects."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.specs import ExpertsSpec, RouterSpec
from explorer.models.feedforward import Mlp
from explorer.models.linear import ExpertGroups, normal

__all__ = ["Experts", "Router", "route"]


class Router(nn.Module):
    """Selects the experts of each token and their weights; computed in float32."""

    spec: RouterSpec
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return weights and indices [..., per_token] for hidden states [..., size].

        Logits [..., experts] in float32 are sown, for the auxiliary losses of a mixture.
        """
        spec, dtype, zeros = self.spec, self.param_dtype, nn.initializers.zeros
        kernel = self.param("kernel", normal, (spec.size, spec.experts), dtype)
        logits = x.astype(jnp.float32) @ kernel.astype(jnp.float32)
        if spec.bias:
            logits += self.param("bias", zeros, (spec.experts,), dtype)
        self.sow("intermediates", "router_logits", logits)
        correction = None
        if spec.correction:
            name = "e_score_correction_bias"
            correction = self.param(name, zeros, (spec.experts,), dtype)
        return route(spec, logits, correction)


@partial(jax.jit, static_argnums=0)
def route(
    spec: RouterSpec, logits: jax.Array, correction: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return weights and indices [..., per_token] for router logits [..., experts].

    Args:
        spec: the routing rule.
        logits: one per token and expert.
        correction: [experts], added for the selection only; training does not change it by
            its gradient.
    """
    scores = jax.nn.sigmoid(logits) if spec.score == "sigmoid" else jax.nn.softmax(logits)
    ranks = scores
    if correction is not None:
        ranks = ranks + jax.lax.stop_gradient(correction.astype(ranks.dtype))
    if spec.groups > 1:
        ranks = jnp.where(_allowed(spec, ranks), ranks, -jnp.inf)
    _, selected = jax.lax.top_k(ranks, spec.per_token)
    weights = jnp.take_along_axis(scores, selected, -1)
    if spec.normalize:
        weights /= weights.sum(-1, keepdims=True) + 1e-20
    return weights * spec.scale, selected


def _allowed(spec: RouterSpec, ranks: jax.Array) -> jax.Array:
    """Return whether each expert belongs to one of the best groups."""
    grouped = ranks.reshape(*ranks.shape[:-1], spec.groups, -1)
    best = min(2 if spec.group_score == "two_best" else 1, grouped.shape[-1])
    totals = jax.lax.top_k(grouped, best)[0].sum(-1)
    _, groups = jax.lax.top_k(totals, spec.top_groups)
    allowed = jax.nn.one_hot(groups, spec.groups, dtype=bool).any(-2)
    return jnp.repeat(allowed, grouped.shape[-1], -1)


class Experts(nn.Module):
    """The weighted sum of the selected experts, plus the shared experts."""

    spec: ExpertsSpec
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the output [batch, length, size]; selected indices are sown."""
        spec, dtype = self.spec, self.param_dtype
        weights, selected = Router(spec.router, dtype, name="router")(x)
        self.sow("intermediates", "expert_indices", selected)
        rows, groups, order = _dispatch(x, selected, spec.router.experts)
        rows = Mlp(spec.experts, dtype, name="experts")(rows, groups)
        y = _collect(rows, order, weights)
        if spec.shared_experts is None:
            return y
        return y + Mlp(spec.shared_experts, dtype, name="shared_experts")(x)


@partial(jax.jit, static_argnums=2)
def _dispatch(
    x: jax.Array, selected: jax.Array, experts: int
) -> tuple[jax.Array, ExpertGroups, jax.Array]:
    """Return a row per token and selected expert, sorted by expert, and the sorting order."""
    flat = selected.reshape(-1)
    order = jnp.argsort(flat)
    rows = x.reshape(-1, x.shape[-1])[order // selected.shape[-1]]
    return rows, ExpertGroups(jnp.bincount(flat, length=experts), flat[order]), order


@jax.jit
def _collect(rows: jax.Array, order: jax.Array, weights: jax.Array) -> jax.Array:
    """Return each token's weighted sum of its rows."""
    sorted_back = rows[jnp.argsort(order)].reshape(*weights.shape, -1)
    return (sorted_back * weights[..., None]).sum(-2).astype(rows.dtype)
