"""Equinox modules: trees whose inexact arrays are parameters, and all else is static."""

from typing import Any

import equinox as eqx
import jax

from explorer.training.modules.variables import Annotations, Variables
from explorer.tree.nest import nest
from explorer.tree.walk import names_of

__all__ = ["EquinoxModule"]


class EquinoxModule:
    """An Equinox module, whose values training begins with."""

    def __init__(self, module: eqx.Module):
        leaves, self._treedef = jax.tree_util.tree_flatten_with_path(module)
        self._leaves = [(names_of(keys), leaf) for keys, leaf in leaves]

    @property
    def given(self) -> Variables:
        """The parameters of the module; it keeps nothing else from step to step."""
        return Variables(
            nest({p: v for p, v in self._leaves if eqx.is_inexact_array(v)}), {}
        )

    def init(self, rng: jax.Array, args: Any, kwargs: Any) -> Variables:
        """Return what the module holds."""
        return self.given

    def annotations(self, rng: jax.Array, args: Any, kwargs: Any) -> Annotations:
        """Return nothing: Equinox has no names of axes."""
        return {}

    def loss(self, loss_fn: Any) -> Any:
        """Return a loss that is called with a module."""

        def of_params(params: Any, batch: Any, context: Any) -> Any:
            module = self.module(params, context.batch_stats)
            if not context.train:
                module = eqx.nn.inference_mode(module)
            return loss_fn(module, batch, context)

        return of_params

    def module(self, params: Any, batch_stats: Any) -> Any:
        """Return the module with these parameters."""
        leaves = []
        for path, leaf in self._leaves:
            if eqx.is_inexact_array(leaf):
                leaf = params
                for name in path:
                    leaf = leaf[name]
            leaves.append(leaf)
        return jax.tree.unflatten(self._treedef, leaves)
