"""What is this target? The one place that asks; every public function matches on the answer.

    resolve("model.safetensors")      Checkpoint: weights on disk
    resolve("llama-2-70b")            ArchitectureTarget: a name, a config, a path of one
    resolve({"kernel": array})        Tree: arrays or shapes in memory, whatever holds them
    resolve(module, inputs)           Call: a module or a function that can be traced

Nothing that a target does not need is imported: a path loads neither JAX nor NumPy.
"""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from explorer.errors import TreeError
from explorer.inventory.inventory import Inventory
from explorer.targets.calls import call_of
from explorer.targets.memory import refuse_inputs, resolve_object
from explorer.targets.records import ArchitectureTarget, Call, Checkpoint, Target, Tree

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
                return resolve_object(import_attribute(path), inputs, kwargs, path)
            found = _architecture(path)
    elif isinstance(target, Inventory):
        found = target
    elif _is_config(target):
        found = _architecture(target)
    else:
        # a plain container has no name of its own; a module has that of its class
        name = "" if type(target).__module__ == "builtins" else type(target).__name__
        return resolve_object(target, inputs, kwargs, name)
    refuse_inputs(target, inputs, kwargs)
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


def _is_config(target: Any) -> bool:
    """Return whether a target is meant as a Hugging Face config, valid or not.

    No tree of arrays has a number or text where a config has them.
    """
    if not isinstance(target, Mapping):
        return False
    if "model_type" in target or isinstance(target.get("architectures"), list):
        return not hasattr(target.get("model_type"), "shape")
    return any(type(target.get(name)) is int for name in ("hidden_size", "n_embd"))
