"""Calls of modules and functions, and the tensors of what is called.

The roles of the parameters are read from the program of the call.
"""

from collections.abc import Mapping
from typing import Any

import jax

from explorer.errors import InputError, TreeError
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import Role
from explorer.objects import pytree
from explorer.objects.arrays import name_collections
from explorer.paths import Key
from explorer.roles.call import Call
from explorer.roles.dataflow import ParameterRole, trace
from explorer.tree.types import PyTree

__all__ = ["call_of_function", "call_of_nnx", "read"]


def call_of_nnx(module: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return the call of an NNX module on example inputs; the module is not changed."""
    from flax import nnx

    graph, state = nnx.split(module)

    def fn(pure: PyTree, *args: Any, **keywords: Any) -> Any:
        filled = jax.tree.map(lambda leaf: leaf, state)  # a copy of its structure
        nnx.replace_by_pure_dict(filled, pure)
        return nnx.merge(graph, filled)(*args, **keywords)

    params = nnx.to_pure_dict(state)
    return Call(
        fn=fn,
        params=params,
        inputs=inputs,
        kwargs=kwargs,
        name=type(module).__name__,
        model=module,
    )


def call_of_function(target: tuple[Any, ...]) -> Call:
    """Return the call that a tuple (fn, params, inputs) describes.

    Raises:
        TreeError: the tuple has another form.
    """
    if len(target) != 3 or not callable(target[0]):
        raise TreeError(
            "the target",
            found=f"a tuple of {', '.join(type(part).__name__ for part in target)}",
            expected="(module, *inputs) or (fn, params, inputs)",
        )
    fn, params, inputs = target
    return Call(
        fn=fn,
        params=params,
        inputs=tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,),
        name=getattr(fn, "__name__", type(fn).__name__),
    )


def read(call: Call) -> Listing:
    """List the tensors of what is called, with the role of each from its use.

    A call that cannot be traced (it has side effects) leaves a remark, and names decide.

    >>> x = jax.ShapeDtypeStruct((2,), "float32")
    >>> read(Call(fn=lambda p, x: x + p["a"], params={"a": x}, inputs=(x,))).roles
    {('a',): 'bias'}
    """
    listing = pytree.read(call.params if call.model is None else call.model)
    listing.format = call.form or listing.format
    listing.stacks = dict(call.stacks)
    if call.form == "flax linen":
        name_collections(listing)
    try:
        traced = trace(call.fn, call.params, *call.inputs, **call.kwargs)
        listing.roles = _roles_by_key(traced.roles)
    except InputError as error:
        remark = f"roles are by name, because the call could not be traced: {error}"
        listing.remarks = [*listing.remarks, remark]
    return listing


def _roles_by_key(roles: PyTree) -> dict[Key, Role]:
    """Return the role of each parameter that a call uses, by its path in the tree.

    Of a parameter that nothing uses, its name says what it was meant for.
    """
    return {
        tuple(jax.tree_util.keystr((key,), simple=True) for key in path): record.role
        for path, record in jax.tree_util.tree_flatten_with_path(roles)[0]
        if isinstance(record, ParameterRole) and record.reached
    }
