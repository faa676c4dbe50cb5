"""A name, a config or a path of one -> the architecture it means, and its inventory."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from explorer.architectures import listed as declared
from explorer.architectures.architecture import Architecture
from explorer.architectures.catalog.entries import Undisclosed, find, nearest
from explorer.architectures.families import architecture_of
from explorer.errors import TargetError, printable
from explorer.identify.assemble import assemble
from explorer.identify.config import read_config_file
from explorer.inventory.card import Advertised
from explorer.inventory.inventory import Inventory
from explorer.storage.local import LOCAL, exists

__all__ = ["Known", "inventory_of", "resolve"]

_SILENT = "config.json names no format: bytes are those of float32"


class Known(NamedTuple):
    """An architecture, the name it was asked for by, and what its publisher says of it."""

    architecture: Architecture
    name: str = ""
    advertised: Advertised | None = None
    remarks: tuple[str, ...] = ()


def resolve(target: str | os.PathLike | Mapping[str, Any]) -> Known:
    """Return the architecture that a target means.

    Args:
        target: a catalogued name or id, a Hugging Face config as a dict, a path of a
            config.json or of the folder that holds one.

    Raises:
        InputError: no such name (the nearest is told), one whose publisher discloses
            nothing, or a config with a wrong field.

    >>> resolve("llama-2-70b").architecture.num_layers
    80
    """
    if isinstance(target, Mapping):
        return _described(target, "config", "")
    name = os.fspath(target)
    if exists(name):
        path = os.path.join(name, "config.json") if os.path.isdir(name) else name
        return _described(read_config_file(path).content, path, name)
    entry = find(name)
    if entry is None:
        raise _missing(name)
    if isinstance(entry, Undisclosed):
        raise _undisclosed(name, entry)
    advertised = Advertised(
        parameters=entry.advertised,
        active=entry.advertised_active,
        convention=entry.publisher_convention,
        source=entry.source,
    )
    remarks = tuple(filter(None, (entry.note, _packing(entry.config))))
    return Known(architecture_of(entry.config, entry.id), name, advertised, remarks)


def inventory_of(known: Known, scan: bool = False) -> Inventory:
    """Return the inventory of an architecture, nothing allocated and no JAX loaded.

    >>> inventory_of(resolve("gpt2-xl")).num_parameters
    1557611200
    """
    inventory = assemble(declared.read(known.architecture, scan), known.name)
    card = declared.card_of(known.architecture, known.advertised)
    return replace(inventory, card=card, remarks=(*inventory.remarks, *known.remarks))


def _described(content: Mapping[str, Any], place: str, name: str) -> Known:
    silent = content.get("torch_dtype") is None and content.get("dtype") is None
    remarks = tuple(filter(None, (_SILENT if silent else "", _packing(content))))
    return Known(architecture_of(content, place), name, None, remarks)


def _packing(content: Mapping[str, Any]) -> str:
    """Return what a config that asks for packed weights means for the bytes shown."""
    settings = content.get("quantization_config")
    if not isinstance(settings, Mapping):
        return ""
    method = printable(settings.get("quant_method", "quantised"), 40)
    return f"the config asks for {method} weights: bytes are those before packing"


def _missing(name: str) -> TargetError:
    """Return the error for a name that is nothing, with the nearest that there is."""
    folder, last = os.path.split(name)
    try:
        there = LOCAL.names(folder)[:10_000]
    except (TargetError, ValueError):  # no such folder, or a name that none can have
        there = []
    files = difflib.get_close_matches(last, there, 1, 0.6)
    near = os.path.join(folder, files[0]) if files else nearest(name)
    return TargetError(
        name,
        found="no such file or folder, and no architecture of that name",
        expected="a path, a name of `explorer catalog`, or package.module:attribute",
        cure=f"did you mean {printable(near)}?" if near else "",
    )


def _undisclosed(name: str, entry: Undisclosed) -> TargetError:
    estimate = f"a public estimate, no count: {entry.estimate}" if entry.estimate else ""
    return TargetError(
        name,
        found=f"{entry.publisher} discloses neither its architecture nor its parameters",
        cure=estimate,
    )
