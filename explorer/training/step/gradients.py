"""Gradients of a loss: in what precision, with what kept, over how many micro-batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from explorer.errors import InputError
from explorer.models.remat import policy_of
from explorer.training.sharding.activations import activations_follow_batch
from explorer.training.sharding.mesh import split_over_mesh
from explorer.training.step.evaluation import (
    Context,
    LossFn,
    Outcome,
    count_examples,
    outcome_of,
)
from explorer.training.step.freezing import stopped
from explorer.training.step.state import cast_floats

__all__ = ["GradientFn", "LossGradients", "make_gradient_fn"]


class LossGradients(NamedTuple):
    """What a loss function answered, and the gradients of its loss, like the parameters."""

    outcome: Outcome
    grads: Any


# (params, batch, rng, batch_stats, base) -> LossGradients; base may be left out
GradientFn = Callable[..., LossGradients]


def make_gradient_fn(
    loss_fn: LossFn,
    *,
    accumulate: int = 1,
    compute_dtype: DTypeLike | None = None,
    remat: str | None = None,
    labels: Any = None,
    mesh: Mesh | None = None,
) -> GradientFn:
    """Return a traceable function that finds the gradients of a loss function.

    Args: as of `make_train_step`.

    Raises:
        InputError: `remat` is not the name of a policy.
    """
    policy = None if remat is None else policy_of(remat)

    def loss_of(
        params: Any, batch: Any, rng: jax.Array, batch_stats: Any, base: Any
    ) -> Any:
        cast = cast_floats(stopped(params, labels), compute_dtype)
        context = Context(rng, batch_stats, True, base)
        with activations_follow_batch(mesh, count_examples(batch)):
            outcome = outcome_of(loss_fn, cast, batch, context)
        return outcome.loss, outcome

    if policy is not None:
        loss_of = jax.checkpoint(loss_of, policy=policy)

    def gradients_of(
        params: Any, batch: Any, rng: jax.Array, batch_stats: Any, base: Any = None
    ) -> LossGradients:
        batch = split_over_mesh(batch, mesh, 0)
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (_, outcome), grads = gradient(params, batch, rng, batch_stats, base)
        return LossGradients(outcome, grads)

    return gradients_of if accumulate == 1 else _accumulated(gradients_of, accumulate, mesh)


def _accumulated(gradients_of: GradientFn, count: int, mesh: Mesh | None) -> GradientFn:
    """Return a function that takes the mean over the micro-batches of a batch."""

    def accumulated(
        params: Any, batch: Any, rng: jax.Array, batch_stats: Any, base: Any = None
    ) -> LossGradients:
        def one(carry: Any, part: Any) -> Any:
            sums, batch_stats = carry
            index, examples = part
            key = jax.random.fold_in(rng, index)
            (loss, metrics, batch_stats), grads = gradients_of(
                params, examples, key, batch_stats, base
            )
            sums = jax.tree.map(lambda a, b: a + b.astype(a.dtype), sums, grads)
            return (sums, batch_stats), (loss, metrics)

        parts = (jnp.arange(count), _split(batch, count, mesh))
        carry = (jax.tree.map(_wide_zeros, params), batch_stats)
        (sums, batch_stats), (losses, metrics) = lax.scan(one, carry, parts)
        grads = jax.tree.map(lambda s, p: (s / count).astype(p.dtype), sums, params)
        means = jax.tree.map(lambda values: values.mean(0), metrics)
        return LossGradients(Outcome(losses.mean(), means, batch_stats), grads)

    return accumulated


def _split(batch: Any, count: int, mesh: Mesh | None) -> Any:
    """Return a batch as micro-batches along a new first axis.

    Every n-th example is of one micro-batch: devices that hold neighbours then have a part
    of each, and none must pass on what it holds.
    """
    examples = count_examples(batch)
    if examples is None or examples % count:
        found = "no arrays" if examples is None else f"{examples} examples"
        raise InputError(
            "the batch", found=found, expected=f"a multiple of accumulate={count}"
        )

    def split(leaf: jax.Array) -> jax.Array:
        parts = leaf.reshape(examples // count, count, *leaf.shape[1:])
        return parts.swapaxes(0, 1)

    return split_over_mesh(jax.tree.map(split, batch), mesh, 1)


def _wide_zeros(leaf: jax.Array) -> jax.Array:
    """Return zeros to sum gradients in: bfloat16 would lose the later ones."""
    return jnp.zeros_like(leaf, jnp.promote_types(leaf.dtype, jnp.float32))
