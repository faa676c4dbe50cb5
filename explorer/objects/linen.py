"""Linen modules: the shapes of their variables, from an `init` that allocates nothing."""

import inspect
import sys
from typing import Any

import jax
from flax import linen as nn

from explorer.architectures.listed import stacks_of
from explorer.errors import InputError, TreeError, first_line, printable
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS
from explorer.objects import pytree
from explorer.objects.calls import of_linen, rngs, traced
from explorer.paths import Key

__all__ = ["abstract_init", "read"]

_FORM = "flax linen"


def read(module: nn.Module, *inputs: Any, **kwargs: Any) -> Listing:
    """List the variables that a module makes for some inputs, by collection.

    The module's `init` is traced by `jax.eval_shape`: a model of any size costs no memory.
    Numbers, strings and flags among the inputs stay what they are; arrays and
    ShapeDtypeStructs count by shape. A bound module shows the variables it is bound to.

    Args:
        module: a Linen module.
        inputs: what its `__call__` takes: arrays or `jax.ShapeDtypeStruct`s.
        kwargs: keyword arguments of the call, and `method` for a call of another name.

    Raises:
        TreeError: the module needs inputs and none are given.
        InputError: the module cannot be called so; the message has its first line.

    >>> listing = read(nn.Dense(3), jax.ShapeDtypeStruct((1, 2), "float32"))
    >>> listing.keys, listing.shapes
    ([('params', 'bias'), ('params', 'kernel')], [(3,), (2, 3)])
    """
    if module.scope is not None:
        listing = pytree.read(module.variables)
    else:
        variables = abstract_init(module, inputs, kwargs)
        listing = traced(
            pytree.read(variables), of_linen(module, variables, inputs, kwargs)
        )
    listing.format = _FORM
    listing.stacks = _stacks(module)
    return listing


def _stacks(module: nn.Module) -> dict[Key, tuple[int, ...]]:
    """Return what the tensors of explorer's own models stack: no tree says so itself."""
    # a class of a module that is not imported cannot have been instantiated
    transformer = sys.modules.get("explorer.models.transformer")
    if transformer is None or not isinstance(module, transformer.Transformer):
        return {}
    stacks = stacks_of(module.architecture, module.scan)
    return {(PARAMS, *path): stack for path, stack in stacks.items()}


def abstract_init(
    module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return the shapes of the variables that a module makes; errors as of `read`."""
    if not inputs and not kwargs and _needs_inputs(module):
        raise TreeError(
            type(module).__name__,
            found="a Linen module without example inputs",
            expected="inputs of its __call__, for a module makes its variables when called",
            cure="explore(module, jax.ShapeDtypeStruct((1, 128), jnp.int32))",
        )
    leaves, treedef = jax.tree_util.tree_flatten((inputs, kwargs))
    shaped = [leaf for leaf in leaves if _has_shape(leaf)]

    def init(arrays: list[Any]) -> Any:
        given = iter(arrays)
        call = [next(given) if _has_shape(leaf) else leaf for leaf in leaves]
        args, keywords = treedef.unflatten(call)
        return module.init(rngs(), *args, **keywords)

    try:
        return jax.eval_shape(init, shaped)
    except Exception as error:  # whatever the module's own code may raise
        raise InputError(
            type(module).__name__,
            found=f"cannot be called with ({_describe(inputs, kwargs)}): {first_line(error)}",
            cure="pass what its __call__ takes",
        ) from error


def _has_shape(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _needs_inputs(module: nn.Module) -> bool:
    parameters = inspect.signature(module.__call__).parameters.values()
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in given for p in parameters)


def _describe(inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return a call's arguments as text, arrays by format and shape."""

    def word(leaf: Any) -> str:
        if not _has_shape(leaf):
            return repr(leaf)
        return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"

    shown = [str(jax.tree.map(word, x)) for x in inputs]
    shown += [f"{name}={jax.tree.map(word, x)}" for name, x in kwargs.items()]
    return printable(", ".join(shown), 300)
