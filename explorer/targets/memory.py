"""Objects in memory: which are trees of arrays, and which are calls that can be traced."""

from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import msgspec

from explorer.errors import TreeError
from explorer.targets.records import Call, Tree

__all__ = ["refuse_inputs", "resolve_object"]


def resolve_object(
    target: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
) -> Tree | Call:
    """Return the call of a module on inputs, or the tree that an object is."""
    _refuse_wrong_kind(target, name)
    if _is_call(target):
        return _written_call(target, inputs, kwargs, name)
    from explorer.objects.frameworks import framework_of

    framework = framework_of(target)
    has_inputs = bool(inputs or kwargs)
    if framework == "linen":
        from explorer.objects.linen import architecture_of, call_of_linen

        if target.scope is None or has_inputs:
            call = call_of_linen(target, inputs, kwargs)
            return msgspec.structs.replace(call, name=name)
        return Tree(target, name, framework, architecture_of(target))
    if framework == "nnx" and has_inputs:
        from explorer.objects.calls import call_of_nnx

        return msgspec.structs.replace(call_of_nnx(target, inputs, kwargs), name=name)
    refuse_inputs(target, inputs, kwargs)
    return Tree(target, name, framework)


def _written_call(
    target: tuple[Any, ...], inputs: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
) -> Tree | Call:
    """Return the call that a tuple (module, *inputs) or (fn, params, inputs) describes."""
    from explorer.objects.calls import call_of_function
    from explorer.objects.frameworks import framework_of

    first, *rest = target
    if framework_of(first) != "pytree":
        return resolve_object(first, (*rest, *inputs), kwargs, name or type(first).__name__)
    refuse_inputs(target, inputs, kwargs)
    call = call_of_function(target)
    return msgspec.structs.replace(call, name=name or call.name)


def _is_call(target: Any) -> bool:
    """Return whether an object is a call written out: (module, *inputs) or (fn, ...).

    A tuple of NNX objects alone, or of callable nodes such as Equinox modules, is a tree.
    """
    if type(target) is not tuple or not target or not callable(target[0]):
        return False
    from explorer.objects.frameworks import framework_of

    first, *rest = target
    framework = framework_of(first)
    if framework == "nnx":
        return bool(rest) and not any(framework_of(each) == "nnx" for each in rest)
    if framework == "linen":
        return True
    from jax.tree_util import all_leaves

    return all_leaves([first])


# None and numbers are trees to JAX, with no leaf and with one
_WRONG_KINDS: dict[type, str] = {
    **dict.fromkeys(
        (FunctionType, BuiltinFunctionType, MethodType), "pass (fn, params, inputs)"
    ),
    type: "pass an instance of the class",
    bytes: "pass a str or a pathlib.Path",
}


def _refuse_wrong_kind(target: Any, name: str) -> None:
    for kind, cure in _WRONG_KINDS.items():
        if isinstance(target, kind):
            raise TreeError(
                name or "the target",
                found=f"is a {type(target).__name__}, not a model",
                expected="a path, a name, a config, a tree of arrays or a module",
                cure=cure,
            )


def refuse_inputs(target: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse example inputs of something that is not called.

    Raises:
        TreeError: inputs are given.
    """
    if inputs or kwargs:
        raise TreeError(
            target if isinstance(target, str) else type(target).__name__,
            found="inputs were given with something that is not a module",
            expected="explore(module, *inputs) or explore(tree)",
        )
