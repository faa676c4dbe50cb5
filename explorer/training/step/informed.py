"""What an optimizer is given beside gradients, and what it says of its own settings."""

from typing import Any

import jax
import jax.numpy as jnp

from explorer.training.step.gradients import GradientFn, LossGradients
from explorer.training.step.optimizer_parts import is_left_out

__all__ = ["extra_arguments", "hyperparameters"]


def extra_arguments(
    gradient_fn: GradientFn, params: Any, found: LossGradients, given: tuple[Any, ...]
) -> dict[str, Any]:
    """Return the arguments by name that optax's transformations may ask for.

    `value` and `grad` are those of the step; `value_fn` computes the loss of other parameters on
    the same batch, as a line search does. What no transformation asks for costs nothing.

    Args:
        gradient_fn: of `make_gradient_fn`.
        params: of the state.
        found: what `gradient_fn` answered for them.
        given: its arguments behind the parameters.
    """

    def loss(some: Any) -> jax.Array:
        # where others are frozen, an optimizer knows of its own parameters alone
        whole = jax.tree.map(_filled, some, params, is_leaf=is_left_out)
        return gradient_fn.loss(whole, *given)

    value = found.outcome.loss.mean
    return {"value": value, "grad": found.grads, "value_fn": loss}


def _filled(leaf: Any, other: Any) -> Any:
    return other if is_left_out(leaf) else leaf


def hyperparameters(opt_state: Any) -> dict[str, jax.Array]:
    """Return settings as a step used them: the learning rate, and what a schedule decides.

    Args:
        opt_state: of `optax.inject_hyperparams`, or with such a state inside; of others, {}.

    >>> import optax
    >>> rate = optax.linear_schedule(1.0, 0.0, 4)
    >>> state = optax.inject_hyperparams(optax.sgd)(rate).init({"w": jnp.ones(2)})
    >>> hyperparameters(state)["learning_rate"].item()
    1.0
    """
    has_some = lambda node: hasattr(node, "hyperparams")  # noqa: E731
    found: dict[str, jax.Array] = {}
    for node in jax.tree.leaves(opt_state, is_leaf=has_some):
        if not has_some(node):
            continue
        scheduled = getattr(node, "hyperparams_states", {})
        for name, value in node.hyperparams.items():
            if (name == "learning_rate" or name in scheduled) and jnp.ndim(value) == 0:
                found.setdefault(name, jnp.asarray(value, jnp.float32))
        for name, value in hyperparameters(node.inner_state).items():
            found.setdefault(name, value)
    return found
