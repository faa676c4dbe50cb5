"""Linen modules: their variables are a tree already."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from explorer.errors import InputError, first_line
from explorer.training.modules.variables import (
    Annotations,
    Variables,
    by_collection,
    zeros_like_shape,
)
from explorer.tree.walk import names_of

__all__ = ["LinenModule"]


class LinenModule:
    """A Linen module; all its variables are kept, but what it sows.

    A loss returns those that `apply(..., mutable=...)` changed; the others stay as they are.
    """

    given = None

    def __init__(self, module: nn.Module):
        self._module = module

    def init(self, rng: jax.Array, args: Any, kwargs: Any) -> Variables:
        """Return the variables out of their boxes."""
        variables = nn.meta.unbox(self._boxed(rng, args, kwargs))
        kept = {name: tree for name, tree in variables.items() if not _is_sown(tree)}
        params, stats = kept.pop("params", {}), kept.pop("batch_stats", {})
        return Variables(params, {"batch_stats": stats, **kept} if kept else stats)

    def annotations(self, rng: jax.Array, args: Any, kwargs: Any) -> Annotations:
        """Return the names that `nn.with_partitioning` or `with_logical_partitioning` gave."""

        def boxed() -> Any:
            filled = jax.tree.map(zeros_like_shape, (args, kwargs))
            return self._boxed(rng, *filled).get("params", {})

        shapes = jax.eval_shape(boxed)
        is_box = lambda leaf: isinstance(leaf, nn.meta.AxisMetadata)  # noqa: E731
        leaves, _ = jax.tree_util.tree_flatten_with_path(shapes, is_leaf=is_box)
        return {
            names_of(keys): tuple(box.names)
            for keys, box in leaves
            if isinstance(box, nn.Partitioned)
        }

    def loss(self, loss_fn: Any) -> Any:
        """Return the loss, with what it leaves out of several collections filled in."""

        def filled(params: Any, batch: Any, context: Any) -> Any:
            returned = loss_fn(params, batch, context)
            kept = context.batch_stats
            if isinstance(returned, tuple) and len(returned) == 3 and "batch_stats" in kept:
                return *returned[:2], _updated(kept, returned[2])
            return returned

        return filled

    def module(self, params: Any, batch_stats: Any) -> Any:
        """Return the module bound to these variables."""
        return self._module.bind({"params": params, **by_collection(batch_stats)})

    def _boxed(self, rng: jax.Array, args: Any, kwargs: Any) -> Any:
        try:
            return self._module.init(rng, *args, **kwargs)
        except InputError:
            raise
        except Exception as error:  # whatever the module's own code may raise
            raise InputError(
                type(self._module).__name__,
                found=f"cannot be called with these inputs: {first_line(error)}",
                cure="pass what its __call__ takes",
            ) from error


def _is_sown(tree: Any) -> bool:
    """Return whether a collection is of values that a call sows: tuples that grow with each."""
    return any(
        isinstance(key, jax.tree_util.SequenceKey)
        for keys, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
        for key in keys
    )


def _updated(kept: Mapping[str, Any], returned: Any) -> dict[str, Any]:
    """Return collections, with those in their places that a loss returned.

    Raises:
        InputError: it returned none of them.
    """
    if not isinstance(returned, Mapping) or not returned.keys() & kept.keys():
        names = ", ".join(f'"{name}"' for name, tree in kept.items() if tree)
        raise InputError(
            "loss_fn",
            found="variables of none of the module's collections",
            expected=f"what apply(..., mutable=[{names}]) returns, or a part of it",
        )
    return {name: returned.get(name, tree) for name, tree in kept.items()}
