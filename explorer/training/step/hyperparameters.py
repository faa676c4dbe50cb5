"""The settings of an optimizer as a step used them."""

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["hyperparameters"]


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
