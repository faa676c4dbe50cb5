"""Objects in memory: which are trees of arrays, and which are calls that can be traced."""

import os
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
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
    if has_inputs and _is_callable_node(target):
        from explorer.objects.modules import call_of_module

        return msgspec.structs.replace(call_of_module(target, inputs, kwargs), name=name)
    refuse_inputs(target, inputs, kwargs)
    return Tree(target, name, framework)


def _written_call(
    target: tuple[Any, ...], inputs: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
) -> Tree | Call:
    """Return the call that a tuple (module, *inputs) or (fn, params, inputs) describes."""
    from explorer.objects.calls import call_of_function
    from explorer.objects.frameworks import framework_of

    first, *rest = target
    if framework_of(first) != "pytree" or _is_callable_node(first):
        return resolve_object(first, (*rest, *inputs), kwargs, name or type(first).__name__)
    refuse_inputs(target, inputs, kwargs)
    call = call_of_function(target)
    return msgspec.structs.replace(call, name=name or call.name)


def _is_call(target: Any) -> bool:
    """Return whether an object is a call written out: (module, *inputs) or (fn, ...).

    A tuple of NNX objects alone, or of callable nodes such as Equinox modules, is a tree; of
    such a node and arrays, a call.
    """
    if type(target) is not tuple or not target or not callable(target[0]):
        return False
    from explorer.objects.frameworks import framework_of

    first, *rest = target
    framework = framework_of(first)
    if framework == "nnx":
        return bool(rest) and not any(framework_of(each) == "nnx" for each in rest)
    if framework == "linen" or not _is_callable_node(first):
        return True
    return bool(rest) and all(map(_is_example, rest))


def _is_callable_node(target: Any) -> bool:
    from explorer.roles.settings import is_module

    return is_module(target)


def _is_example(value: Any) -> bool:
    """Return whether a value beside a module is an input of it, and not more of the tree."""
    return hasattr(value, "dtype") and bool(getattr(value, "shape", ()))


# None and numbers are trees to JAX, with no leaf and with one: nobody means them as models
_WRONG_KINDS: dict[type, str] = {
    **dict.fromkeys(
        (FunctionType, BuiltinFunctionType, MethodType), "pass (fn, params, inputs)"
    ),
    type: "pass an instance of the class",
    **dict.fromkeys((bytes, bytearray), "pass a str or a pathlib.Path"),
    type(None): "perhaps a function returned nothing",
    **dict.fromkeys(
        (int, float, complex), "pass the arrays themselves, or the tree that holds them"
    ),
    ModuleType: "pass a model that is in it",
}


def _refuse_wrong_kind(target: Any, name: str) -> None:
    cure = next((c for kind, c in _WRONG_KINDS.items() if isinstance(target, kind)), None)
    if isinstance(target, list | tuple | set) and target and all(map(_is_name, target)):
        cure = "pass one at a time, or give them to `explorer count`"
    if type(target) is tuple and target and isinstance(target[0], type):
        cure = "pass an instance of the class"
    if cure is None:
        cure = _cure_of_library(target)
    if cure is None or _is_numpy_number(target):
        return
    found = "is None" if target is None else f"is {_described(target)}"
    raise TreeError(
        name or "the target",
        found=f"{found}, not a model",
        expected="a path, a name, a config, a tree of arrays or a module",
        cure=cure,
    )


def _cure_of_library(target: Any) -> str | None:
    """Return what to pass instead of an object that holds no tree of arrays."""
    classes = {f"{kind.__module__}.{kind.__name__}" for kind in type(target).__mro__}
    if "torch.nn.modules.module.Module" in classes:
        return "pass the file that torch.save(model.state_dict(), path) writes"
    if isinstance(target, tuple) and callable(getattr(target, "update", None)):
        return "pass the state that optimizer.init(params) returns"
    if isinstance(target, tuple) and callable(getattr(target, "apply", None)):
        return "pass (module.apply, params, inputs), with the params that init returns"
    # a jitted function, a partial one; other things that can be called hold arrays
    if callable(target) and type(target).__module__.startswith(("functools", "jax")):
        return "pass (fn, params, inputs)"
    return None


def _is_numpy_number(value: Any) -> bool:
    """Return whether a number is NumPy's: its float64 is a float of Python too."""
    return isinstance(value, float | complex) and hasattr(value, "dtype")


def _is_name(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _described(target: Any) -> str:
    kind = type(target).__name__
    if isinstance(target, list | tuple | set):
        return f"a {kind} of {type(next(iter(target))).__name__}"
    return f"a {kind}"


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
