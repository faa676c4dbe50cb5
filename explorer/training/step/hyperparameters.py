"""The settings of an optimizer as a step used them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["hyperparameters"]


class _Found(NamedTuple):
    """A setting, with the labels above it and its place among all states."""

    name: str
    label: str
    place: str
    value: jax.Array


def hyperparameters(opt_state: Any) -> dict[str, jax.Array]:
    """Return settings as a step used them: the learning rate, and what a schedule decides.

    Several of one name have the label of their part behind it, as `optax.multi_transform` gives
    one, or else their place. Of a plateau, what it multiplies updates by is `plateau_scale`.

    Args:
        opt_state: of `optax.inject_hyperparams`, or with such states inside; of others, {}.

    >>> import optax
    >>> rate = optax.linear_schedule(1.0, 0.0, 4)
    >>> state = optax.inject_hyperparams(optax.sgd)(rate).init({"w": jnp.ones(2)})
    >>> hyperparameters(state)["learning_rate"].item()
    1.0
    >>> parts = {name: optax.inject_hyperparams(optax.sgd)(rate) for name in "ab"}
    >>> list(hyperparameters(optax.multi_transform(parts, {"w": "a", "v": "b"}).init(
    ...     {"w": jnp.ones(2), "v": jnp.ones(2)})))
    ['learning_rate/a', 'learning_rate/b']
    """
    found = _all(opt_state, (), ())
    named: dict[str, jax.Array] = {}
    for each in found:
        others = [other for other in found if other.name == each.name]
        labels = {other.label for other in others}
        own = each.label if len(labels) == len(others) and "" not in labels else each.place
        named[each.name if len(others) == 1 else f"{each.name}/{own}"] = each.value
    return named


def _all(state: Any, labels: tuple[str, ...], places: tuple[str, ...]) -> list[_Found]:
    found: list[_Found] = []
    for keys, node in jax.tree_util.tree_flatten_with_path(state, is_leaf=_has_some)[0]:
        if not _has_some(node):
            continue
        inside = (*labels, *(str(k.key) for k in keys if hasattr(k, "key")))
        there = (*places, *(str(k.idx) for k in keys if hasattr(k, "idx")))
        label, place = "/".join(inside), "/".join(there) or "0"
        if _is_plateau(node):
            found.append(_Found("plateau_scale", label, place, _number(node.scale)))
            continue
        scheduled = getattr(node, "hyperparams_states", {})
        for name, value in node.hyperparams.items():
            if (name == "learning_rate" or name in scheduled) and jnp.ndim(value) == 0:
                found.append(_Found(name, label, place, _number(value)))
        below = _all(node.inner_state, inside, there)
        found += [each for each in below if each.name not in node.hyperparams]
    return found


def _has_some(node: Any) -> bool:
    return hasattr(node, "hyperparams") or _is_plateau(node)


def _is_plateau(node: Any) -> bool:
    return hasattr(node, "plateau_count") and hasattr(node, "scale")


def _number(value: Any) -> jax.Array:
    return jnp.asarray(value, jnp.float32)
