"""Linen modules: their variables are a tree already."""

from typing import Any

import jax
from flax import linen as nn

from explorer.errors import InputError, first_line
from explorer.training.modules.variables import Annotations, Variables, zeros_like_shape
from explorer.tree.walk import names_of

__all__ = ["LinenModule"]


class LinenModule:
    """A Linen module; of its variables, "params" and "batch_stats" are kept."""

    given = None

    def __init__(self, module: nn.Module):
        self._module = module

    def init(self, rng: jax.Array, args: Any, kwargs: Any) -> Variables:
        """Return the variables out of their boxes."""
        variables = nn.meta.unbox(self._boxed(rng, args, kwargs))
        return Variables(variables.get("params", {}), variables.get("batch_stats", {}))

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
        """Return the loss as it is."""
        return loss_fn

    def module(self, params: Any, batch_stats: Any) -> Any:
        """Return the module bound to these variables."""
        variables = {"params": params}
        return self._module.bind(
            variables | ({"batch_stats": batch_stats} if batch_stats else {})
        )

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
