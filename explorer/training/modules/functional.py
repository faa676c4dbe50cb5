"""What training needs of a module, whatever its framework."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax

from explorer.errors import InputError, shown
from explorer.objects.frameworks import is_instance
from explorer.tree.walk import Path

__all__ = ["Annotations", "FunctionalModule", "Variables", "functional"]

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
        """Return the names of the axes of the parameters that have some; nothing is computed."""
        ...

    def loss(self, loss_fn: Any) -> Any:
        """Return a loss of `(params, batch, context)`, of the one that the user wrote."""
        ...

    def module(self, params: Any, batch_stats: Any) -> Any:
        """Return the module with these parameters."""
        ...


def functional(model: Any) -> FunctionalModule:
    """Return a module of any framework as pure functions.

    Args:
        model: a Linen module; an NNX module, or a class or function that takes `rngs` and
            makes one; an Equinox module.

    Raises:
        InputError: it is something else.

    >>> from explorer.models.small import LinearRegression
    >>> module = functional(LinearRegression())
    >>> jax.tree.map(jax.numpy.shape, module.init(jax.random.key(0), ([[1.0]],), {}).params)
    {'linear': {'bias': (1,), 'kernel': (1, 1)}}
    """
    # a framework that is not imported has no module here
    if is_instance(model, "flax.linen", "Module"):
        from explorer.training.modules.linen import LinenModule

        return LinenModule(model)
    if is_instance(model, "equinox", "Module"):
        from explorer.training.modules.equinox import EquinoxModule

        return EquinoxModule(model)
    is_nnx = is_instance(model, "flax.nnx", "Module")
    if is_nnx or (callable(model) and not _is_linen_class(model)):
        from explorer.training.modules.nnx import NnxModule

        return NnxModule(model)
    raise InputError(
        "module",
        found=shown(model, 60),
        expected="a module of Linen, NNX or Equinox, or a function of rngs that makes one of NNX",
        cure="make one of the class" if isinstance(model, type) else "",
    )


def _is_linen_class(model: Any) -> bool:
    from flax import linen as nn

    return isinstance(model, type) and issubclass(model, nn.Module)
