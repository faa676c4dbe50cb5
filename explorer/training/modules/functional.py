"""A module of any framework as pure functions."""

from typing import Any

from explorer.errors import InputError, shown
from explorer.objects.frameworks import is_instance
from explorer.training.modules.variables import FunctionalModule

__all__ = ["functional"]


def functional(model: Any) -> FunctionalModule:
    """Return a module of any framework as pure functions.

    Args:
        model: a Linen module; an NNX module, or a class or function that takes `rngs` and
            makes one; an Equinox module; or `(params, apply)`, a tree and a function of it.

    Raises:
        InputError: it is something else.

    >>> import jax
    >>> from explorer.models.small import LinearRegression
    >>> module, x = functional(LinearRegression()), jax.numpy.ones((1, 1))
    >>> jax.tree.map(jax.numpy.shape, module.init(jax.random.key(0), (x,), {}).params)
    {'linear': {'bias': (1,), 'kernel': (1, 1)}}
    """
    if _is_pair(model):
        return _plain(*model)
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
        expected="a module of Linen, NNX or Equinox, a function of rngs that makes one of NNX, "
        "or (params, apply)",
        cure="make one of the class" if isinstance(model, type) else "",
    )


def _is_pair(model: Any) -> bool:
    return isinstance(model, tuple) and len(model) == 2 and callable(model[1])


def _plain(params: Any, apply: Any) -> FunctionalModule:
    """Return parameters and a function of them.

    Raises:
        InputError: the first is a function too, as of what Haiku and stax make.
    """
    from explorer.training.modules.plain import PlainModel

    if callable(params):
        raise InputError(
            "model",
            found="(init, apply), two functions",
            expected="(params, apply)",
            cure="call init first, and pass what it returns",
        )
    return PlainModel(params, apply)


def _is_linen_class(model: Any) -> bool:
    from flax import linen as nn

    return isinstance(model, type) and issubclass(model, nn.Module)
