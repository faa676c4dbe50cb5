"""A name, a config or a path -> the architecture it describes, and its inventory."""

import difflib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec.structs import replace

from explorer.architectures import listing
from explorer.architectures.architecture import Architecture
from explorer.architectures.catalog.entries import (
    UndisclosedModel,
    find,
    nearest,
)
from explorer.architectures.catalog.search import what_it_has
from explorer.architectures.families import architecture_of
from explorer.architectures.own_code import with_own_code
from explorer.architectures.tensor_counts import tensor_counts
from explorer.errors import TargetError, printable
from explorer.identify.assemble import assemble
from explorer.identify.config import read_config_file
from explorer.inventory.card import Advertised
from explorer.inventory.inventory import Inventory
from explorer.storage.local import LOCAL, exists

__all__ = ["ResolvedArchitecture", "inventory_of", "resolve"]

_NO_DTYPE = "config.json specifies no dtype: bytes are those of float32"


class ResolvedArchitecture(NamedTuple):
    """An architecture, the name it was requested by, and its publisher's own figures.

    `packing` is the `quantization_config` of the config that describes it.
    """

    architecture: Architecture
    name: str = ""
    advertised: Advertised | None = None
    remarks: tuple[str, ...] = ()
    packing: Mapping[str, Any] = MappingProxyType({})


def resolve(target: str | os.PathLike | Mapping[str, Any]) -> ResolvedArchitecture:
    """Return the architecture that a target describes.

    Args:
        target: a catalogued name or id, a Hugging Face config as a dict, the path of a
            config.json or of the folder that holds one.

    Raises:
        InputError: an unknown name (the error suggests the nearest), a model whose
            publisher discloses nothing, or a config with an invalid field.

    >>> resolve("llama-2-70b").architecture.num_layers
    80
    """
    if isinstance(target, Mapping):
        return _from_config(target, "config", "")
    name = os.fspath(target)
    if exists(name):
        path = os.path.join(name, "config.json") if os.path.isdir(name) else name
        return _from_config(read_config_file(path).content, path, name)
    entry = find(name)
    if entry is None:
        raise _unknown(name)
    if isinstance(entry, UndisclosedModel):
        raise _undisclosed(name, entry)
    architecture = architecture_of(entry.config, entry.id)
    counts = tensor_counts(architecture, entry.tensors, **entry.beside)
    advertised = Advertised(
        parameters=entry.advertised,
        active=entry.advertised_active,
        convention=entry.publisher_convention,
        source=entry.source,
        file_tensors=entry.tensors,
        file_sum=counts.sum.partition(" = ")[2],
        file_bytes=entry.file_bytes,
        file_format=entry.file_format,
    )
    remarks = tuple(filter(None, (entry.note, _packing(entry.config))))
    return ResolvedArchitecture(architecture, name, advertised, remarks)


def inventory_of(resolved: ResolvedArchitecture, scan: bool = False) -> Inventory:
    """Return the inventory of an architecture; nothing is allocated, JAX is not loaded.

    >>> inventory_of(resolve("gpt2-xl")).num_parameters
    1557611200
    """
    inventory = assemble(listing.read(resolved.architecture, scan), resolved.name)
    card = listing.card_of(resolved.architecture, resolved.advertised)
    remarks = (*inventory.remarks, *resolved.remarks)
    assumed = tuple(("parameters", each) for each in resolved.architecture.assumptions)
    assumptions = (*inventory.assumptions, *assumed)
    return replace(
        inventory,
        card=replace(card, packing=dict(resolved.packing)),
        remarks=remarks,
        assumptions=assumptions,
        parameters_by="model",
    )


def _from_config(content: Mapping[str, Any], place: str, name: str) -> ResolvedArchitecture:
    unset = content.get("torch_dtype") is None and content.get("dtype") is None
    remarks = tuple(filter(None, (_NO_DTYPE if unset else "", _packing(content))))
    architecture = with_own_code(architecture_of(content, place), content)
    packing = content.get("quantization_config")
    packing = packing if isinstance(packing, Mapping) else {}
    return ResolvedArchitecture(architecture, name, None, remarks, packing)


def _packing(content: Mapping[str, Any]) -> str:
    """Return a remark about the bytes shown if a config specifies packed weights."""
    settings = content.get("quantization_config")
    if not isinstance(settings, Mapping):
        return ""
    method = printable(settings.get("quant_method", "quantised"), 40)
    return f"the config specifies {method} weights: bytes are those before packing"


def _unknown(name: str) -> TargetError:
    """Return the error for an unknown name, with the nearest file or catalogued name."""
    folder, last = os.path.split(name)
    try:
        siblings = LOCAL.names(folder)[:10_000]
    except (TargetError, ValueError):  # no such folder, or an impossible name
        siblings = []
    files = difflib.get_close_matches(last, siblings, 1, 0.6)
    if files:
        cure = _did_you_mean(os.path.join(folder, files[0]))
    else:
        # a name of known words is not mistyped: bert-base-cased is not bert-base-uncased
        cure = what_it_has(name) or _did_you_mean(nearest(name))
    return TargetError(
        name,
        found="no such file or folder, and no architecture of that name",
        expected="a path, a name of `explorer catalog`, or package.module:attribute",
        cure=cure,
    )


def _did_you_mean(near: str | None) -> str:
    return f"did you mean {printable(near)}?" if near else ""


def _undisclosed(name: str, entry: UndisclosedModel) -> TargetError:
    estimate = f"a public estimate, not a count: {entry.estimate}" if entry.estimate else ""
    return TargetError(
        name,
        found=f"{entry.publisher} discloses neither its architecture nor its parameters",
        cure=estimate,
    )
