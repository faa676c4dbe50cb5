"""What training needs of a module, whatever its framework."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from explorer.tree.walk import Path

__all__ = ["Annotations", "FunctionalModule", "Variables", "zeros_like_shape"]

# the names that a module gives to the axes of a parameter, of a mesh or its own
Annotations = Mapping[Path, tuple[Any, ...]]


class Variables(NamedTuple):
    """What a module begins with: nested dicts of its parameters, and of what else it keeps."""

    params: Any
    batch_stats: Any


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
