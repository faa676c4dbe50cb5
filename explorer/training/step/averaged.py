"""Parameters averaged over the steps of a run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from explorer.errors import InputError, check_type, shown
from explorer.training.step.buffers import stand_still
from explorer.training.step.checks import check_optimizer
from explorer.training.step.optimizer_parts import is_left_out
from explorer.training.step.state import TrainState

__all__ = ["AverageState", "averaged", "with_average"]


class AverageState(NamedTuple):
    """What an optimizer keeps that averages: its own state, and the averages in float32."""

    inner: Any
    average: Any


def with_average(
    optimizer: optax.GradientTransformation, decay: float
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer that keeps an exponential moving average of the parameters too.

    After each step `average = decay * average + (1 - decay) * params`, in float32 at least; it
    begins with the parameters as they are. The average is a part of the optimizer's state:
    checkpoints hold it, and it is placed as the parameters are. Buffers among the parameters,
    which no gradient reaches and no optimizer decays (`without_buffers`), are not averaged: they
    are as they were last, like other running statistics.

    Args:
        optimizer: any optax transformation.
        decay: from 0 to below 1, such as 0.999.

    Raises:
        InputError: `decay` is out of range.

    >>> optimizer = with_average(optax.sgd(1.0), 0.5)
    >>> params = {"w": jnp.zeros(1)}
    >>> updates, state = optimizer.update({"w": -jnp.ones(1)}, optimizer.init(params), params)
    >>> updates["w"].item(), state.average["w"].item()
    (1.0, 0.5)

    References:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """
    check_optimizer(optimizer)
    if not isinstance(decay, int | float) or not 0 <= decay < 1:
        raise InputError("decay", found=shown(decay, 20), expected="from 0 to below 1")
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> Any:
        return AverageState(inner.init(params), jax.tree.map(_wide_copy, params))

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        if params is None:
            cure = "pass them: optimizer.update(updates, state, params)"
            raise InputError("params", found="none", expected="those to average", cure=cure)
        still = stand_still(updates, state.inner)
        updates, kept = inner.update(updates, state.inner, params, **extra)
        moved = optax.apply_updates(params, updates)

        def mixed(stands: Any, mean: jax.Array, old: jax.Array, new: jax.Array) -> Any:
            mix = decay * mean + (1 - decay) * new.astype(mean.dtype)
            return mix if stands is False else jnp.where(stands, old.astype(mix.dtype), mix)

        average = jax.tree.map(mixed, still, state.average, params, moved)
        return updates, AverageState(kept, average)

    return optax.GradientTransformationExtraArgs(init, update)


def averaged(state: TrainState) -> TrainState:
    """Return a state with the averages in the place of its parameters, to evaluate or save.

    Args:
        state: of a `Trainer` whose optimizer is of `with_average`.

    Raises:
        InputError: its optimizer keeps no average.

    >>> from explorer.training.step.state import state_from
    >>> params = {"w": jnp.ones(1)}
    >>> state = state_from(params, with_average(optax.sgd(0.1), 0.9), jax.random.key(0))
    >>> averaged(state).params["w"].item()
    1.0
    """
    check_type("state", state, TrainState, "what init or a step returned")
    is_average = lambda node: isinstance(node, AverageState)  # noqa: E731
    nodes = jax.tree.leaves(state.opt_state, is_leaf=is_average)
    found = [node.average for node in nodes if is_average(node)]
    if not found:
        raise InputError(
            "state",
            found="an optimizer that keeps no average",
            cure="train with with_average(optimizer, 0.999)",
        )

    def cast(mean: Any, leaf: jax.Array) -> jax.Array:
        # what is frozen has no average: it is as it was
        return leaf if is_left_out(mean) else mean.astype(leaf.dtype)

    params = jax.tree.map(cast, found[0], state.params, is_leaf=is_left_out)
    return state.replace(params=params)


def _wide_copy(leaf: Any) -> Any:
    return jnp.array(leaf, jnp.promote_types(leaf.dtype, jnp.float32), copy=True)
