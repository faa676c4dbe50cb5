"""trace_roles: a function and its parameters -> what each parameter does."""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax

from explorer.errors import InputError
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.tensor import Role
from explorer.roles.dataflow.arguments import (
    distinct,
    leaves_of,
    paths_of,
    shape_of,
    split_call,
    traced,
)
from explorer.roles.dataflow.axes import is_leading, wide
from explorer.roles.dataflow.examples import refuse_shapes
from explorer.roles.dataflow.liveness import ImpureError
from explorer.roles.dataflow.records import ParameterRole, Use
from explorer.roles.dataflow.values import CONSTANT, LEADING, Value, merged
from explorer.roles.dataflow.walk import Walk
from explorer.roles.settings import is_module, split_settings

__all__ = ["RoleTrace", "trace", "trace_roles"]

# of several uses, the one latest in this order decides
_ORDER: tuple[Role, ...] = ("other", "bias", "scale", "embedding", "kernel")
_DATA = Value(data=True)


class RoleTrace(NamedTuple):
    """What a program does with its parameters, and its work.

    Attributes:
        roles: a tree like that of the parameters, with a ParameterRole at each leaf.
        macs: multiply-adds of all contractions of one call.
        free_macs: those that belong to no parameter (the scores of attention); the others
            are the sum over the parameters.
    """

    roles: Any
    macs: int
    free_macs: int


def trace_roles(fn: Callable[..., Any], params: Any, *inputs: Any, **kwargs: Any) -> Any:
    """Return what each parameter does in `fn(params, *inputs, **kwargs)`, by its use.

    Nothing runs and nothing is allocated: only shapes and dtypes are used, so that
    `jax.ShapeDtypeStruct`s will do. Renaming keys changes nothing, nor does wrapping in jit,
    remat, scan or vmap. Random keys are not data, and arrays that fn closes over are constants;
    in a function without inputs, they are the data.

    Args:
        fn: a pure function of parameters and inputs.
        params: any pytree of arrays, a dict of variables, an NNX state or module, an Equinox
            or penzai module. Inside a module other leaves than arrays are settings.
        inputs: further arguments of fn; numbers, strings and flags are passed unchanged.
        kwargs: keyword arguments of fn.

    Returns:
        A tree like `params` with a ParameterRole at each array, and None for settings.
        `trace_roles(module, *inputs)` is that of a module that holds its arrays.

    Raises:
        TreeError: there are no parameters, or one is not an array.
        InputError: fn cannot be called with these arguments, or has side effects.

    >>> import jax.numpy as jnp
    >>> params = {"a": jnp.ones((3, 2)), "b": jnp.ones(2)}
    >>> roles = trace_roles(lambda p, x: x @ p["a"] + p["b"], params, jnp.ones((5, 3)))
    >>> roles["a"].role, roles["b"].role, roles["a"].macs
    ('kernel', 'bias', 30)
    """
    if is_module(fn) and _holds_floats(fn):  # the module itself, then its inputs
        return trace(_called, fn, params, *inputs, **kwargs).roles
    return trace(fn, params, *inputs, **kwargs).roles


def _called(module: Any, *inputs: Any, **kwargs: Any) -> Any:
    return module(*inputs, **kwargs)


def _holds_floats(module: Any) -> bool:
    leaves = jax.tree.leaves(split_settings(module)[0])
    return any(jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact) for leaf in leaves)


def trace(fn: Callable[..., Any], params: Any, *inputs: Any, **kwargs: Any) -> RoleTrace:
    """Return the roles as `trace_roles` does, and the multiply-adds of one call."""
    params, filled = split_settings(params)
    leaves, treedef = leaves_of(params)
    shapes = [shape_of(leaf) for leaf in leaves]
    arrays, call = split_call(inputs, kwargs)
    name = getattr(fn, "__name__", type(fn).__name__)

    def called(params: Any, *inputs: Any, **kwargs: Any) -> Any:
        return fn(filled(params), *inputs, **kwargs)

    refuse_shapes(name, called, params, inputs, kwargs)

    def flat(leaves: list[Any], arrays: list[Any]) -> Any:
        inputs, kwargs = call(arrays)
        return fn(filled(treedef.unflatten(leaves)), *inputs, **kwargs)

    closed = traced(name, flat, shapes, arrays)
    numbers = distinct(leaves, params)
    inputs_ = [_parameter(number, shapes[number]) for number in numbers]
    inputs_ += [CONSTANT if _is_key(array) else _DATA for array in arrays]
    walk = Walk([prod(shape.shape) for shape in shapes])
    # without inputs, what the function closes over is its data
    closed_over = {} if arrays else {"given": _DATA}
    live = [True] * len(closed.jaxpr.outvars)
    try:
        with paused_gc():
            results = walk.run(closed.jaxpr, inputs_, live, **closed_over)
    except ImpureError as error:
        found = f"has side effects ({error})"
        raise InputError(name, found=found, expected="a pure function") from None
    walk.findings.returned(results)
    end, shared = merged(results), _shared(numbers, params)
    roles = [
        _role(
            tuple(walk.findings.uses[number]),
            reached=bool(end.reach >> number & 1),
            differentiable=bool(end.grad >> number & 1),
            shared_with=shared.get(leaf, ()),
            shape=tuple(shapes[leaf].shape),
        )
        for leaf, number in enumerate(numbers)
    ]
    return RoleTrace(treedef.unflatten(roles), walk.findings.macs, walk.findings.free_macs)


def _parameter(number: int, shape: jax.ShapeDtypeStruct) -> Value:
    learns = jax.numpy.issubdtype(shape.dtype, jax.numpy.inexact)
    return Value(
        1 << number,
        reach=1 << number,
        grad=learns << number,
        traits=LEADING if is_leading(shape.shape) else 0,
        axes=wide(shape.shape),
    )


def _is_key(shape: jax.ShapeDtypeStruct) -> bool:
    return jax.numpy.issubdtype(shape.dtype, jax.dtypes.prng_key)


def _shared(numbers: list[int], params: Any) -> dict[int, tuple[str, ...]]:
    """Return for each leaf that shares its array with others the paths of the others."""
    if len(set(numbers)) == len(numbers):
        return {}
    paths = paths_of(params)
    leaves: dict[int, list[int]] = {}
    for leaf, number in enumerate(numbers):
        leaves.setdefault(number, []).append(leaf)
    return {
        leaf: tuple(paths[other] for other in group if other != leaf)
        for group in leaves.values()
        for leaf in group
    }


def _role(uses: tuple[Use, ...], **facts: Any) -> ParameterRole:
    """Return the record of a parameter: the first role of its uses; but a table that is
    looked up stays an embedding if it is the output projection too."""
    found: Role = "other"
    for role in _ORDER:
        if any(use.role == role for use in uses):
            found = role
    tied = found == "kernel" and any(use.manner == "looked up" for use in uses)
    return ParameterRole(role="embedding" if tied else found, uses=uses, tied=tied, **facts)
