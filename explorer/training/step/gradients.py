"""Gradients of a loss: in what precision, with what kept, over how many micro-batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from explorer.errors import InputError
from explorer.models.remat import policy_of
from explorer.training.sharding.activations import activations_follow_batch
from explorer.training.sharding.batch_placement import split_over_mesh
from explorer.training.step.freezing import stopped
from explorer.training.step.outcome import (
    Context,
    LossFn,
    Outcome,
    count_examples,
    outcome_of,
)
from explorer.training.step.state import cast_floats
from explorer.training.step.weighted import over_parts, summed_over_parts

__all__ = ["GradientFn", "LossGradients", "make_gradient_fn"]


class LossGradients(NamedTuple):
    """What a loss function answered, and the gradients of its loss, like the parameters."""

    outcome: Outcome
    grads: Any


def make_gradient_fn(
    loss_fn: LossFn,
    *,
    accumulate: int = 1,
    compute_dtype: DTypeLike | None = None,
    remat: str | None = None,
    labels: Any = None,
    mesh: Mesh | None = None,
) -> "GradientFn":
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
        return outcome.loss.defined_mean, outcome

    if policy is not None:
        loss_of = jax.checkpoint(loss_of, policy=policy)
    return GradientFn(loss_of, accumulate, mesh)


@dataclass(frozen=True, eq=False)
class GradientFn:
    """A loss over a batch with its gradients, and alone.

    Args:
        loss_of: `(params, batch, rng, batch_stats, base) -> (loss, outcome)`.
        parts: micro-batches that a batch is split into, computed one after the other. Each
            counts by the weight of its loss; where losses have none, all count the same.
        mesh: the batch is split over it.
    """

    loss_of: Callable[..., tuple[jax.Array, Outcome]]
    parts: int
    mesh: Mesh | None

    def __call__(
        self, params: Any, batch: Any, rng: jax.Array, batch_stats: Any, base: Any = None
    ) -> LossGradients:
        """Return what the loss function answered, and the gradients of its loss."""
        if self.parts == 1:
            return self._gradients(params, batch, rng, batch_stats, base)

        def one(carry: Any, part: Any) -> Any:
            sums, batch_stats = carry
            index, examples = part
            key = jax.random.fold_in(rng, index)
            outcome, grads = self._gradients(params, examples, key, batch_stats, base)
            (loss, metrics, batch_stats) = outcome
            weight = 1 if loss.weight is None else loss.weight
            sums = jax.tree.map(lambda a, b: a + weight * b.astype(a.dtype), sums, grads)
            return (sums, batch_stats), (loss, metrics)

        carry = (jax.tree.map(_wide_zeros, params), batch_stats)
        (sums, batch_stats), found = lax.scan(one, carry, self._split(batch))
        loss, metrics = summed_over_parts(found)
        weight = self.parts if loss.weight is None else loss.weight
        grads = jax.tree.map(lambda s, p: (s / weight).astype(p.dtype), sums, params)
        return LossGradients(Outcome(loss, metrics, batch_stats), grads)

    def loss(
        self, params: Any, batch: Any, rng: jax.Array, batch_stats: Any, base: Any = None
    ) -> jax.Array:
        """Return the loss alone: the same number, for a line search."""
        if self.parts == 1:
            split = split_over_mesh(batch, self.mesh, 0)
            return self.loss_of(params, split, rng, batch_stats, base)[0]

        def one(batch_stats: Any, part: Any) -> Any:
            index, examples = part
            key, split = (
                jax.random.fold_in(rng, index),
                split_over_mesh(examples, self.mesh),
            )
            _, outcome = self.loss_of(params, split, key, batch_stats, base)
            return outcome.batch_stats, outcome.loss

        return over_parts(lax.scan(one, batch_stats, self._split(batch))[1]).mean

    def _gradients(self, params: Any, batch: Any, *given: Any) -> LossGradients:
        gradient = jax.value_and_grad(self.loss_of, has_aux=True)
        split = split_over_mesh(batch, self.mesh, 0)
        (_, outcome), grads = gradient(params, split, *given)
        return LossGradients(outcome, grads)

    def _split(self, batch: Any) -> Any:
        return jnp.arange(self.parts), _split(batch, self.parts, self.mesh)


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
