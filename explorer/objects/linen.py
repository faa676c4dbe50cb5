"""Linen modules: the shapes of their variables, from an `init` that allocates nothing."""

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
from flax import linen as nn

from explorer.architectures.architecture import Architecture
from explorer.architectures.listing import stacks_of
from explorer.errors import InputError, TreeError, first_line, printable
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS
from explorer.objects import calls, pytree
from explorer.objects.arrays import name_collections
from explorer.objects.frameworks import is_instance
from explorer.paths import Key
from explorer.roles.call import Call
from explorer.roles.dataflow.examples import refuse_shapes
from explorer.tree.types import PyTree

__all__ = ["architecture_of", "call_of_linen", "read"]

_FORM = "flax linen"


def read(module: nn.Module, *inputs: Any, **kwargs: Any) -> Listing:
    """List the variables that a module makes for example inputs, by collection.

    The module's `init` is traced by `jax.eval_shape`: a model of any size costs no memory.
    Numbers, strings and flags among the inputs stay what they are; arrays and
    ShapeDtypeStructs count by shape. A bound module shows the variables it is bound to.

    Args:
        module: a Linen module.
        inputs: what its `__call__` takes: arrays or `jax.ShapeDtypeStruct`s.
        kwargs: keyword arguments of the call, and `method` for a call of another name.

    Raises:
        TreeError: the module needs inputs and none are given.
        InputError: the module cannot be called with them; the message has its first line.

    >>> listing = read(nn.Dense(3), jax.ShapeDtypeStruct((1, 2), "float32"))
    >>> listing.keys, listing.shapes
    ([('params', 'bias'), ('params', 'kernel')], [(3,), (2, 3)])
    """
    if module.scope is None:
        return calls.read(call_of_linen(module, inputs, kwargs))
    listing = pytree.read(module.variables)
    listing.format = _FORM
    name_collections(listing)
    listing.stacks = _stacks(module)
    return listing


def call_of_linen(
    module: nn.Module, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Call:
    """Return the call of a Linen module on example inputs; only its outputs count.

    Raises:
        TreeError, InputError: as `read`.
    """
    variables = _abstract_init(module, inputs, kwargs)
    state = [name for name in variables if name != PARAMS]

    def fn(variables: PyTree, *args: Any, **keywords: Any) -> Any:
        return module.apply(variables, *args, rngs=_rngs(), mutable=state, **keywords)[0]

    return Call(
        fn=fn,
        params=nn.meta.unbox(variables),
        inputs=inputs,
        kwargs=kwargs,
        name=type(module).__name__,
        model=variables if module.scope is None else module.variables,
        form=_FORM,
        stacks=_stacks(module),
        architecture=architecture_of(module),
    )


def architecture_of(module: nn.Module) -> Architecture | None:
    """Return the record that one of explorer's own models is built from; None of another."""
    is_own = is_instance(module, "explorer.models.transformer", "Transformer")
    return vars(module)["architecture"] if is_own else None


def _stacks(module: nn.Module) -> dict[Key, tuple[int, ...]]:
    """Return what the tensors of explorer's own models stack: no tree shows it."""
    architecture = architecture_of(module)
    if architecture is None:
        return {}
    stacks = stacks_of(architecture, vars(module)["scan"])
    return {(PARAMS, *path): stack for path, stack in stacks.items()}


def _rngs() -> dict[str, jax.Array]:
    """Return the streams that a module may draw from."""
    # a stream of any other name is drawn from "params"; keys are traced, not made
    return {name: jax.random.key(0) for name in (PARAMS, "dropout")}


def _abstract_init(
    module: nn.Module, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> PyTree:
    """Return the shapes of the variables that a module makes; raises what `read` does."""
    if not inputs and not kwargs and _needs_inputs(module):
        raise TreeError(
            type(module).__name__,
            found="a Linen module without example inputs",
            expected="inputs of its __call__: a module makes its variables when it is called",
            cure="explore(module, jax.ShapeDtypeStruct((1, 128), jnp.int32))",
        )
    refuse_shapes(
        type(module).__name__,
        lambda _, *inputs, **kwargs: module.init(_rngs(), *inputs, **kwargs),
        {},
        inputs,
        kwargs,
        makes=True,
    )
    leaves, treedef = jax.tree_util.tree_flatten((inputs, kwargs))
    shaped = [leaf for leaf in leaves if _has_shape(leaf)]

    def init(arrays: list[Any]) -> Any:
        given = iter(arrays)
        call = [next(given) if _has_shape(leaf) else leaf for leaf in leaves]
        args, keywords = treedef.unflatten(call)
        return module.init(_rngs(), *args, **keywords)

    try:
        return jax.eval_shape(init, shaped)
    except Exception as error:  # the module's own code may raise anything
        raise InputError(
            type(module).__name__,
            found=f"cannot be called with ({_describe(inputs, kwargs)}): {first_line(error)}",
            cure="pass what its __call__ takes",
        ) from error


def _has_shape(leaf: Any) -> bool:
    is_class = isinstance(leaf, type | ModuleType)  # it has a shape of none of its own
    return not is_class and hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _needs_inputs(module: nn.Module) -> bool:
    parameters = inspect.signature(module.__call__).parameters.values()
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in given for p in parameters)


def _describe(inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Return a call's arguments as text, arrays by dtype and shape."""

    def word(leaf: Any) -> str:
        if not _has_shape(leaf):
            return repr(leaf)
        return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"

    shown = [str(jax.tree.map(word, x)) for x in inputs]
    shown += [f"{name}={jax.tree.map(word, x)}" for name, x in kwargs.items()]
    return printable(", ".join(shown), 300)
