"""What is this target? The one place that asks; every public function matches on the answer.

    resolve("model.safetensors")      Checkpoint: weights on disk
    resolve("llama-2-70b")            ArchitectureTarget: a name, a config, a path of one
    resolve({"kernel": array})        Tree: arrays or shapes in memory, whatever holds them
    resolve(module, inputs)           Call: a module or a function that can be traced

Nothing that a target does not need is imported: a path loads neither JAX nor NumPy.
"""

import os
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import msgspec

from explorer.errors import TreeError
from explorer.inventory.inventory import Inventory
from explorer.roles.call import Call

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture
    from explorer.architectures.resolve import ResolvedArchitecture
    from explorer.objects.frameworks import Framework
    from explorer.tree.types import PyTree

__all__ = [
    "ArchitectureTarget",
    "Call",
    "Checkpoint",
    "Target",
    "Tree",
    "as_path",
    "call_of",
    "resolve",
]


class Tree(msgspec.Struct, frozen=True, eq=False):
    """Arrays or shapes in memory: a pytree, a module that holds them, a train state.

    Attributes:
        value: the object.
        name: its class, or what the user wrote; empty for plain containers.
        framework: whose reader opens it.
        architecture: the record behind one of explorer's own models.
    """

    value: "PyTree"
    name: str = ""
    framework: "Framework" = "pytree"
    architecture: "Architecture | None" = None


class Checkpoint(msgspec.Struct, frozen=True):
    """A file or folder that holds weights, with a config.json beside them or without.

    `folder` is where that config.json would be: the path itself, or the one around it.
    """

    path: str
    folder: str


class ArchitectureTarget(msgspec.Struct, frozen=True):
    """An architecture without weights: a catalogued name, a config, or the path of one.

    `is_folder` is true where the path is a folder that holds no weights explorer knows.
    """

    known: "ResolvedArchitecture"
    is_folder: bool = False


Target = Inventory | Tree | Checkpoint | ArchitectureTarget | Call


def resolve(target: Any, *inputs: Any, **kwargs: Any) -> Target:
    """Return what a target is; an Inventory is returned as it is.

    Args:
        target: a path, a catalogued name or `package.module:attribute` (a str or path-like);
            a Hugging Face config (a dict); a tree or module; `(module, *inputs)` or
            `(fn, params, inputs)`.
        inputs: example inputs of a module.
        kwargs: keyword arguments of the module's call.

    Raises:
        InputError: the target is not a model, or inputs are given that it does not take.

    >>> resolve({"bias": [0.5]})
    Tree(value={'bias': [0.5]}, name='', framework='pytree', architecture=None)
    >>> resolve("gpt2").known.architecture.num_layers
    12
    """
    if isinstance(target, str | os.PathLike):
        path = as_path(target)
        found = _on_disk(path)
        if found is None:
            from explorer.objects.imports import import_attribute, looks_importable

            if looks_importable(path):
                return _in_memory(import_attribute(path), inputs, kwargs, path)
            found = _architecture(path)
    elif isinstance(target, Inventory):
        found = target
    elif _is_config(target):
        found = _architecture(target)
    else:
        # a plain container has no name of its own; a module has that of its class
        name = "" if type(target).__module__ == "builtins" else type(target).__name__
        return _in_memory(target, inputs, kwargs, name)
    _refuse_inputs(target, inputs, kwargs)
    return found


def as_path(path: Any) -> str:
    """Return a path as text.

    Raises:
        TreeError: the argument is not a path.

    >>> from pathlib import Path
    >>> as_path(Path("model.gguf"))
    'model.gguf'
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if isinstance(text, str):
        return text
    raise TreeError(
        "path", found=f"is {type(text).__name__}", expected="a str or a pathlib.Path"
    )


def call_of(target: Target, length: int | None = None) -> Call:
    """Return the call that shows what the parameters of a target do.

    Args:
        target: what `resolve` returned.
        length: tokens of the sequence that an architecture is called on; None for 128.

    Raises:
        InputError: nothing says what to call, or on which inputs.

    >>> call_of(resolve("gpt2"), length=16).inputs
    (ShapeDtypeStruct(shape=(1, 16), dtype=int32),)
    """
    match target:
        case Call():
            return target
        case ArchitectureTarget(known):
            return _call_of_architecture(known, length)
        case Checkpoint(path):
            return _call_of_architecture(_architecture(path).known, length)
        case Tree(value=tuple() as value) if value and callable(value[0]):
            from explorer.objects.calls import call_of_function

            return call_of_function(value)
    value = target.value if isinstance(target, Tree) else target
    raise TreeError(
        type(value).__name__,
        found="cannot be called: nothing says on which inputs",
        expected="(module, *inputs) or (fn, params, inputs), a function that returns one, "
        "or the name or config of an architecture",
    )


def _on_disk(path: str) -> Checkpoint | ArchitectureTarget | None:
    """Return what is at a path; None where there is nothing."""
    from explorer.storage.local import exists

    if not exists(path):
        return None
    from explorer.formats.files import is_config

    is_folder = os.path.isdir(path)
    if is_config(path):
        return msgspec.structs.replace(_architecture(path), is_folder=is_folder)
    return Checkpoint(path, path if is_folder else os.path.dirname(path))


def _architecture(target: Any) -> ArchitectureTarget:
    from explorer.architectures import resolve as architectures

    return ArchitectureTarget(architectures.resolve(target))


def _call_of_architecture(known: "ResolvedArchitecture", length: int | None) -> Call:
    from explorer.models.example import example_of
    from explorer.objects.linen import call_of_linen

    call = call_of_linen(*example_of(known.architecture, length))
    name = known.name or known.architecture.family
    return msgspec.structs.replace(call, name=name)


def _in_memory(
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
    _refuse_inputs(target, inputs, kwargs)
    return Tree(target, name, framework)


def _written_call(
    target: tuple[Any, ...], inputs: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
) -> Tree | Call:
    """Return the call that a tuple (module, *inputs) or (fn, params, inputs) describes."""
    from explorer.objects.calls import call_of_function
    from explorer.objects.frameworks import framework_of

    first, *rest = target
    if framework_of(first) != "pytree":
        return _in_memory(first, (*rest, *inputs), kwargs, name or type(first).__name__)
    _refuse_inputs(target, inputs, kwargs)
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


def _is_config(target: Any) -> bool:
    """Return whether a target is meant as a Hugging Face config, valid or not.

    No tree of arrays has a number or text where a config has them.
    """
    if not isinstance(target, Mapping):
        return False
    if "model_type" in target or isinstance(target.get("architectures"), list):
        return not hasattr(target.get("model_type"), "shape")
    return any(type(target.get(name)) is int for name in ("hidden_size", "n_embd"))


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


def _refuse_inputs(target: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if inputs or kwargs:
        raise TreeError(
            target if isinstance(target, str) else type(target).__name__,
            found="inputs were given with something that is not a module",
            expected="explore(module, *inputs) or explore(tree)",
        )
