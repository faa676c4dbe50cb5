"""A tree of parameters and a function of them: a model of any other library, or of none."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from explorer.training.modules.variables import Annotations, Variables
from explorer.tree.arrays import check_arrays, check_not_donated
from explorer.tree.types import Params

__all__ = ["PlainModel"]


class PlainModel:
    """`(params, apply)`, where `apply(params, ...)` computes the model's outputs.

    Training begins with these parameters. The loss is given them as a tree, as that of a Linen
    module is, and calls `apply` itself.
    """

    def __init__(self, params: Params, apply: Callable[..., Any]):
        check_arrays("params", params)
        self._params, self._apply = params, apply

    @property
    def given(self) -> Variables:
        """The parameters; nothing else is kept from step to step.

        Raises:
            InputError: a step took over their memory since.
        """
        check_not_donated("params", self._params)
        return Variables(self._params, {})

    def init(self, rng: jax.Array, args: Any, kwargs: Any) -> Variables:
        """Return the parameters."""
        return self.given

    def annotations(self, rng: jax.Array, args: Any, kwargs: Any) -> Annotations:
        """Return nothing: arrays have no names of axes."""
        return {}

    def loss(self, loss_fn: Any) -> Any:
        """Return the loss as it is: it is given the parameters."""
        return loss_fn

    def module(self, params: Any, batch_stats: Any) -> Any:
        """Return `apply` with these parameters as its first argument."""
        return partial(self._apply, params)
