"""Calls of modules and functions, and the tensors of what is called.

The roles of the parameters are read from the program of the call.
"""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import jax

from explorer.errors import InputError, TreeError
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS, Component, Role
from explorer.objects import pytree
from explorer.objects.arrays import name_collections
from explorer.objects.modules import components_of
from explorer.objects.parameters import is_parameter
from explorer.paths import Key, name_of, path_of
from explorer.roles.call import Call
from explorer.roles.dataflow import ParameterRole, trace
from explorer.roles.dataflow.examples import refuse_shapes
from explorer.roles.names import classify, decide
from explorer.roles.settings import is_module, split_settings
from explorer.tree.types import PyTree

__all__ = ["call_of_function", "call_of_nnx", "read"]

_MOST = 6  # differences that are named


def call_of_nnx(module: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return the call of an NNX module on example inputs; the module is not changed."""
    from flax import nnx

    graph, state = nnx.split(module)

    def fn(pure: PyTree, *args: Any, **keywords: Any) -> Any:
        filled = jax.tree.map(lambda leaf: leaf, state)  # a copy of its structure
        nnx.replace_by_pure_dict(filled, pure)
        return nnx.merge(graph, filled)(*args, **keywords)

    fn.__name__ = type(module).__name__
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
    name = getattr(fn, "__name__", type(fn).__name__)
    listed = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    if listed and all(type(size) is int for size in listed):  # one shape, not its parts
        _refuse_shapes(Call(fn=fn, params=params, inputs=(inputs,), name=name))
    components = components_of(params, pytree.read(params)) if is_module(params) else {}
    return Call(fn=fn, params=params, inputs=listed, name=name, components=components)


def _refuse_shapes(call: Call) -> None:
    params, filled = split_settings(call.params)

    def fn(params: PyTree, *inputs: Any, **kwargs: Any) -> Any:
        return call.fn(filled(params), *inputs, **kwargs)

    refuse_shapes(call.name, fn, params, call.inputs, call.kwargs)


def read(call: Call) -> Listing:
    """List the tensors of what is called, with the role of each from its use.

    A call that cannot be traced (it has side effects) leaves a remark, and names decide.

    >>> x = jax.ShapeDtypeStruct((2,), "float32")
    >>> read(Call(fn=lambda p, x: x + p["a"], params={"a": x}, inputs=(x,))).roles
    {('a',): 'bias'}
    """
    _refuse_shapes(call)
    listing = pytree.read(call.params if call.model is None else call.model)
    listing.format = call.form or listing.format
    listing.stacks = dict(call.stacks)
    if call.form == "flax linen":
        name_collections(listing)
    listing.components = {**listing.components, **call.components}
    try:
        traced = trace(call.fn, call.params, *call.inputs, **call.kwargs)
        used = _roles_by_key(traced.roles)
        listing.roles = _decided(listing, used)
        listing.components = {**_components(listing), **listing.components}
        listing.remarks = [*listing.remarks, *_differences(listing, used)]
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


def _decided(listing: Listing, used: dict[Key, Role]) -> dict[Key, Role]:
    shapes = dict(zip(listing.keys, listing.shapes, strict=True))
    return {
        key: decide(role, classify(path_of(key), shapes[key])[0], shapes[key])
        if key in shapes
        else role
        for key, role in used.items()
    }


def _components(listing: Listing) -> dict[Key, Component]:
    """Return the component of tables, by use, where no name gives one."""
    return {
        key: "embedding"
        for key, shape in _parameters(listing)
        if (listing.roles or {}).get(key) == "embedding"
        and classify(path_of(key), shape)[1] == "other"
    }


def _differences(listing: Listing, used: dict[Key, Role]) -> list[str]:
    """Return what says by how much the biases of use and of names differ."""
    remarks = []
    for key, shape in _parameters(listing):
        role, named = used.get(key), classify(path_of(key), shape)[0]
        if role is None or named == "other" or (role == "bias") == (named == "bias"):
            continue  # a name that says nothing does not differ
        counts = decide(role, named, shape)
        by = "name" if counts == named else "use"
        remarks.append(
            f"{name_of(key)} is used as {role}, its name says {named}: its {prod(shape):,} "
            f"elements count as {counts}, by {by}"
        )
    more = len(remarks) - _MOST
    return remarks[:_MOST] + ([f"{more:,} more differ in use and name"] if more > 0 else [])


def _parameters(listing: Listing) -> Iterator[tuple[Key, tuple[int, ...]]]:
    columns = zip(
        listing.keys,
        listing.shapes,
        listing.dtypes,
        listing.collections or [""] * len(listing.keys),
        strict=True,
    )
    for key, shape, dtype, collection in columns:
        is_given = collection in ("", PARAMS)
        if is_given and is_parameter(path_of(key), shape, dtype):
            yield key, shape
