"""What training needs of a module, whatever its framework."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from explorer.tree.walk import Path

__all__ = [
    "Annotations",
    "FunctionalModule",
    "Variables",
    "by_collection",
    "zeros_like_shape",
]

_STATS = "batch_stats"

# the names that a module gives to the axes of a parameter, of a mesh or its own
Annotations = Mapping[Path, tuple[Any, ...]]


class Variables(NamedTuple):
    """What a module begins with: nested dicts of its parameters, and of what else it keeps.

    `batch_stats` is the collection of this name; of a Linen module with further ones, a dict of
    all of them by name, "batch_stats" among them.
    """

    params: Any
    batch_stats: Any


def by_collection(batch_stats: Any) -> dict[str, Any]:
    """Return what a Linen module keeps besides its parameters, by collection.

    >>> by_collection({"BatchNorm_0": {"mean": 0.0}})
    {'batch_stats': {'BatchNorm_0': {'mean': 0.0}}}
    >>> by_collection({"batch_stats": {}, "counters": {"calls": 3}}), by_collection({})
    ({'counters': {'calls': 3}}, {})
    """
    if not batch_stats:
        return {}
    if _STATS not in batch_stats:
        return {_STATS: batch_stats}
    return {name: kept for name, kept in batch_stats.items() if kept}


class FunctionalModule(Protocol):
    """A module as pure functions: what it begins with, and a loss of its parameters."""

    @property
    def given(self) -> Variables | None:
        """What a module that exists holds; None of one that `init` makes."""
        ...

    def init(self, rng: jax.Array, args: Any, kwargs: Any) -> Variables:
        """Return what it begins with, drawn by a key; made to be traced."""
        ...

    def annotations(self, rng: jax.Array, args: Any, kwargs: Any) -> Annotations:
        """Return the names of the axes of the parameters that have some; nothing is computed.

        Args:
            rng, args, kwargs: as of `init`, where shapes may stand for arrays.
        """
        ...

    def loss(self, loss_fn: Any) -> Any:
        """Return a loss of `(params, batch, context)`, of the one that the user wrote."""
        ...

    def module(self, params: Any, batch_stats: Any) -> Any:
        """Return the module with these parameters."""
        ...


def zeros_like_shape(leaf: Any) -> Any:
    """Return zeros of a shape; anything else as it is."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jnp.zeros(leaf.shape, leaf.dtype)
    return leaf
