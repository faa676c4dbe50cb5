"""What an optimizer is given beside gradients: the loss, and how to compute it elsewhere."""

from typing import Any

import jax

from explorer.training.step.gradients import GradientFn, LossGradients
from explorer.training.step.optimizer_parts import is_left_out

__all__ = ["extra_arguments"]


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
