"""Optimizers of some of the parameters, as optax masks them."""

from typing import Any

import jax
import optax

__all__ = ["is_left_out", "of_part"]


def of_part(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return an optimizer of some of the parameters that is given their gradients alone."""
    inner = optax.with_extra_args_support(optimizer)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if "grad" in extra:
            cut = lambda own, leaf: own if is_left_out(own) else leaf  # noqa: E731
            own = jax.tree.map(cut, updates, extra["grad"], is_leaf=is_left_out)
            extra = extra | {"grad": own}
        return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def is_left_out(leaf: Any) -> bool:
    """Return whether something stands for a parameter of another optimizer."""
    return isinstance(leaf, optax.MaskedNode)
