"""The step that only evaluates: the metrics of a batch, as they are or as weighted means."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from explorer.training.sharding.activations import activations_follow_batch
from explorer.training.sharding.batch_placement import batch_devices, split_over_mesh
from explorer.training.sharding.jit_on_mesh import jit_on_mesh
from explorer.training.step.outcome import (
    Context,
    LossFn,
    Metrics,
    Outcome,
    count_examples,
    outcome_of,
)
from explorer.training.step.state import TrainState, cast_floats
from explorer.training.step.weighted import Weighted, shared_weight
from explorer.tree.types import Batch

__all__ = ["EvalStep", "make_eval_step", "make_eval_totals"]


class EvalStep(Protocol):
    """A jitted evaluation: called, traced and lowered as what `jax.jit` returns."""

    def __call__(self, state: TrainState, batch: Batch, /) -> Metrics:
        """Return the metrics of a batch."""
        ...

    def trace(self, state: TrainState, batch: Batch, /) -> jax.stages.Traced:
        """Trace it for these arguments, real or abstract."""
        ...

    def lower(self, state: TrainState, batch: Batch, /) -> jax.stages.Lowered:
        """Lower it for these arguments."""
        ...


def make_eval_step(
    loss_fn: LossFn,
    *,
    compute_dtype: DTypeLike | None = None,
    mesh: Mesh | None = None,
    base: Any = None,
) -> EvalStep:
    """Return a jitted `(state, batch) -> metrics`, which changes nothing.

    Args:
        loss_fn: `(params, batch, context) -> loss`, or with metrics and batch statistics,
            as for `make_train_step`; `context.train` is False.
        compute_dtype: what the parameters are cast to inside the loss; None for their own.
        mesh: where the state is placed; the batch is split over it.
        base: the `base` of the context.

    Returns:
        A function whose metrics are "loss" and those of the loss function.

    Raises:
        InputError: when called, as what `make_train_step` returns does.

    >>> import optax
    >>> from explorer.models.small import LinearRegression
    >>> from explorer.training.step.state import create_state
    >>> model, x = LinearRegression(), jnp.ones((4, 1))
    >>> state = create_state(model, optax.sgd(0.1), jax.random.key(0), x)
    >>> def loss_fn(params, batch, context):
    ...     return jnp.square(model.apply({"params": params}, batch)).mean()
    >>> list(make_eval_step(loss_fn)(state, x))
    ['loss']
    """

    def evaluate(state: TrainState, batch: Any, base: Any = None) -> Metrics:
        split = split_over_mesh(batch, mesh)
        return _outcome(loss_fn, state, split, base, compute_dtype, mesh).means

    return jit_on_mesh(evaluate, mesh, kind=TrainState, base=base)


def make_eval_totals(
    loss_fn: LossFn,
    *,
    compute_dtype: DTypeLike | None = None,
    mesh: Mesh | None = None,
    base: Any = None,
) -> EvalStep:
    """Return a jitted `(state, batch) -> metrics` whose metrics are `Weighted`.

    A mean without a weight of its own is one over examples: its weight is their number. A
    batch that the devices of a mesh cannot share is computed by each of them.

    Args, Raises:
        as of `make_eval_step`.
    """

    def evaluate(state: TrainState, batch: Any, base: Any = None) -> dict[str, Weighted]:
        examples = count_examples(batch)
        divides = mesh is not None and (examples or 0) % batch_devices(mesh) == 0
        shared = mesh if divides else None
        split = split_over_mesh(batch, shared)
        outcome = _outcome(loss_fn, state, split, base, compute_dtype, shared)
        count = jnp.float32(1 if examples is None else examples)
        return {
            name: shared_weight(value.total, count) if value.weight is None else value
            for name, value in outcome.weighted.items()
        }

    return jit_on_mesh(evaluate, mesh, kind=TrainState, base=base)


def _outcome(
    loss_fn: LossFn,
    state: TrainState,
    batch: Any,
    base: Any,
    compute_dtype: DTypeLike | None,
    mesh: Mesh | None,
) -> Outcome:
    """Return what the loss answers of a state that is not trained."""
    rng = jax.random.fold_in(state.rng, state.step)
    params = cast_floats(state.params, compute_dtype)
    context = Context(rng, state.batch_stats, False, base)
    with activations_follow_batch(mesh, count_examples(batch)):
        return outcome_of(loss_fn, params, batch, context)
