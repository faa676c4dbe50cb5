"""The front door: what is this target, and which room reads it?"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from explorer.analyses import comparison
from explorer.analyses.ledger import Ledger, ledger_of
from explorer.errors import InputError, TreeError, printable
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Inventory, set_renderer
from explorer.paths import Key, matches, path_of

if TYPE_CHECKING:
    from explorer.inventory.listing import Listing

__all__ = [
    "compare",
    "count_bytes",
    "count_parameters",
    "count_tensors",
    "explore",
    "ledger",
    "load",
]

_NO_WEIGHTS = "the folder holds no weights that explorer knows: its config.json is shown"


def explore(target: Any, *inputs: Any, **kwargs: Any) -> Inventory:
    """Return what is in a model, from its structure alone.

    Args:
        target: a path, a catalogued name ("llama-2-70b") or `package.module:attribute` (a
            string); a Hugging Face config (a dict); any pytree of arrays or of shapes; a
            Linen module; an NNX, Equinox or Haiku model; a TrainState; an optax state.
        *inputs: example inputs of a Linen module; `jax.ShapeDtypeStruct`s will do.
        **kwargs: keyword arguments of a Linen module's call.

    Raises:
        InputError: of the kind that fits (see explorer.errors); one line says what is
            wrong, where, and what would be right.

    >>> import numpy as np
    >>> explore({"dense": {"kernel": np.ones((4, 3), "float32"), "bias": np.ones(3, "float32")}})
    Inventory(pytree: 2 tensors, 15 parameters, 12 weights, 3 biases)
    """
    if isinstance(target, Inventory):
        return target
    if isinstance(target, str | os.PathLike):
        return _explore_name(os.fspath(target), inputs, kwargs)
    if _is_config(target):
        return _explore_architecture(target)
    # a tree has no name of its own; a module has its class's
    name = "" if type(target).__module__ == "builtins" else type(target).__name__
    inventory = _assemble(_list_object(target, inputs, kwargs), name)
    if not _is_transformer(target):
        return inventory
    from explorer.architectures.listed import card_of

    return replace(inventory, card=card_of(target.architecture))


def count_tensors(target: Any) -> int:
    """Return how many tensors (leaves, or named arrays of a file) a target has.

    >>> count_tensors({"kernel": [[0.0, 0.0]]})
    2
    """
    return explore(target).num_tensors


def count_parameters(target: Any) -> int:
    """Return how many parameters (unique trainable scalars) a target has.

    Shared arrays count once; running statistics, integer arrays, optimizer state and
    other collections than "params" count nothing.
    """
    return explore(target).num_parameters


def count_bytes(target: Any) -> int:
    """Return the bytes of a target's unique tensors, state included."""
    return explore(target).nbytes


def ledger(target: Any) -> Ledger:
    """Return every figure of a target with how it is known and what explains it."""
    return ledger_of(explore(target))


def compare(a: Any, b: Any) -> comparison.Comparison:
    """Return the structural differences of two targets: anything `explore` takes."""
    return comparison.compare(explore(a), explore(b))


def load(path: str | os.PathLike, select: str | None = None) -> dict[str, Any]:
    """Return the values of a checkpoint as a nested dict of NumPy arrays.

    Arrays map the file where its format allows, so that only what is used is read.
    GGUF's block formats are dequantised to float32; other packed weights come as stored.

    Args:
        path: a file or folder that `explore` opens.
        select: a glob as of `Inventory.select`; None for all.

    Raises:
        InputError: as `explore`; also when nothing is selected, or when a tensor's path
            runs through another tensor.
    """
    from explorer.formats.files import load_path

    place = os.fspath(path)

    def wanted(key: Key) -> bool:
        return select is None or matches(key, select)

    arrays = load_path(place, wanted)
    if not arrays:
        raise InputError(place, found=f"no tensor matches {select!r}", expected="a glob")
    return _nest(place, arrays)


def _nest(place: str, arrays: dict[Key, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, array in arrays.items():
        *parents, last = path_of(key)
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or last in node:
            raise InputError(
                place,
                found=f"{printable(key)} runs through another tensor's path",
                cure="load one of them with select=",
            )
        node[last] = array
    return tree


def _explore_name(target: str, inputs: tuple, kwargs: dict) -> Inventory:
    from explorer.storage.local import exists

    if exists(target):
        return _explore_path(target)
    from explorer.objects.imports import import_attribute, looks_importable

    if not looks_importable(target):
        return _explore_architecture(target)
    found = import_attribute(target)
    if isinstance(found, tuple) and found and callable(found[0]):
        return _assemble(_list_call(found), target)
    return _assemble(_list_object(found, inputs, kwargs), target)


def _is_config(target: Any) -> bool:
    """Say whether a target is a config of Hugging Face, be it a wrong one: no tree of
    arrays has a number or words where a config has them."""
    if not isinstance(target, Mapping):
        return False
    if "model_type" in target or isinstance(target.get("architectures"), list):
        return not hasattr(target.get("model_type"), "shape")
    return any(type(target.get(name)) is int for name in ("hidden_size", "n_embd"))


def _explore_path(path: str) -> Inventory:
    from explorer.formats.files import is_config, list_path
    from explorer.identify.config import read_config

    if is_config(path):
        inventory = _explore_architecture(path)
        remarks = (*inventory.remarks, *([_NO_WEIGHTS] if os.path.isdir(path) else []))
        return replace(inventory, remarks=remarks)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    config = read_config(folder)
    with paused_gc():
        inventory = _assemble(list_path(path), path, config)
        if config is None:
            return inventory
        from explorer.architectures.checkpoints import with_card

        return with_card(inventory, config, path)


def _explore_architecture(target: Any) -> Inventory:
    from explorer.architectures.resolve import inventory_of, resolve

    return inventory_of(resolve(target))


def _assemble(listing: "Listing", target: str = "", config: Any = None) -> Inventory:
    from explorer.identify.assemble import assemble

    return assemble(listing, target, config)


def _list_object(target: Any, inputs: tuple, kwargs: dict) -> "Listing":
    if _is_linen(target):
        from explorer.objects import linen

        return linen.read(target, *inputs, **kwargs)
    if _is_nnx(target):
        from explorer.objects import nnx

        return nnx.read(target, *inputs, **kwargs)
    if inputs or kwargs:
        raise TreeError(
            type(target).__name__,
            found="inputs were given with something that is no module",
            expected="explore(module, *inputs) or explore(tree)",
        )
    from explorer.objects import pytree

    return pytree.read(target)


def _list_call(target: tuple) -> "Listing":
    """List the parameters of (module, *inputs) or of (fn, params, inputs)."""
    if _is_linen(target[0]) or _is_nnx(target[0]):
        return _list_object(target[0], target[1:], {})
    from explorer.objects import pytree
    from explorer.objects.calls import of_function, traced

    call = of_function(target)
    return traced(pytree.read(call.params), call)


def _is_linen(target: Any) -> bool:
    # an object of a package that is not imported cannot have been given
    linen = sys.modules.get("flax.linen")
    return linen is not None and isinstance(target, linen.Module)


def _is_transformer(target: Any) -> bool:
    transformer = sys.modules.get("explorer.models.transformer")
    return transformer is not None and isinstance(target, transformer.Transformer)


def _is_nnx(target: Any) -> bool:
    if "flax.nnx" not in sys.modules:
        return False
    from explorer.objects import nnx

    return nnx.recognises(target)


def _text(inventory: Inventory) -> str:
    from explorer.views.inventory import inventory_text

    return inventory_text(inventory)


def _html(inventory: Inventory) -> str:
    from explorer.views.inventory import inventory_html

    return inventory_html(inventory)


set_renderer("text", _text)
set_renderer("html", _html)
