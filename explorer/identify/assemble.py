"""Listing -> Inventory: what each listed tensor is, found once for each pattern."""

from math import prod

import msgspec

from explorer.dtypes import is_trainable
from explorer.identify import extra_layers, packing
from explorer.identify.config import Config
from explorer.identify.packing import Packed
from explorer.identify.state import CORRECTION, state_of
from explorer.identify.tying import find_ties
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Inventory
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS, Kind, TensorSpec, Tie
from explorer.paths import Key, path_of, templates_of
from explorer.roles.names import classify

__all__ = ["assemble"]

# What a listing or a scheme of packing says of a tensor beyond its header: its collection
# and what it logically is.
_Said = tuple[str, Packed | None]


def assemble(listing: Listing, target: str = "", config: Config | None = None) -> Inventory:
    """Return the inventory of what a source lists.

    Args:
        listing: the columns of a header or a tree.
        target: the name the user gave.
        config: of the config.json beside the weights, where there is one.
    """
    with paused_gc():
        templates = templates_of(listing.keys)
        columns = [templates, listing.shapes, listing.dtypes, listing.nbytes]
        sayings, said = _sayings(listing, set(templates), config)
        if said:
            columns.append(said)
        if listing.roles:
            columns.append([listing.roles.get(key) for key in listing.keys])
        # what a row is depends on nothing but the row: one tensor stands for all alike
        kinds: dict[tuple, Kind] = {}
        tensors = []
        for key, row in zip(listing.keys, zip(*columns, strict=True), strict=True):
            kind = kinds.get(row)
            if kind is None:
                kind = _kind(key, row, sayings[row[4]] if said else ("", None))
                kinds[row] = kind = _told(kind, key, listing)
            tensors.append(TensorSpec(key, kind))
        ties = find_ties(tensors, kinds.values(), listing, config)
        _mark(tensors, ties.groups, listing)
    return Inventory(
        tensors=tuple(tensors),
        target=target,
        source=listing.format,
        ties=tuple(ties.groups),
        file_bytes=listing.file_bytes,
        files=listing.files,
        remarks=tuple(listing.remarks),
        rules=ties.rules,
        assumptions=ties.assumptions,
        role_by="name" if listing.roles is None else "use",
        metadata=listing.metadata,
    )


def _sayings(
    listing: Listing, templates: set[bytes], config: Config | None
) -> tuple[list[_Said], list[int]]:
    """Return all that is said of tensors, and a number for each; nothing, mostly."""
    collections = listing.collections
    if extra_layers.suspects(templates):
        collections = extra_layers.mark(listing.keys, collections)
    verdicts: dict[int, Packed] = {}
    if packing.suspects(templates):
        hint = config.quantization if config else None
        verdicts = packing.unpack(listing.keys, listing.shapes, listing.dtypes, config=hint)
    if collections is None and not verdicts:
        return [], []
    # alike tensors share one verdict, so that its identity is enough
    numbers: dict[tuple[str, int], int] = {}
    sayings: list[_Said] = []
    said = []
    for index, collection in enumerate(collections or [""] * len(listing.keys)):
        verdict = verdicts.get(index)
        mark = (collection, id(verdict))
        number = numbers.get(mark)
        if number is None:
            numbers[mark] = number = len(sayings)
            sayings.append((collection, verdict))
        said.append(number)
    return sayings, said


def _kind(key: Key, row: tuple, said: _Said) -> Kind:
    (shape, dtype, nbytes), (collection, packed) = row[1:4], said
    path = packed.path if packed else path_of(key)
    rule = extra_layers.RULE if collection == extra_layers.COLLECTION else ""
    stored = None
    if packed:
        collection, rule = collection or packed.collection, packed.rule
        stored = (shape, dtype, prod(shape))
        shape, dtype = packed.shape, packed.dtype
    elif collection in ("", PARAMS):
        state = state_of(path, shape, dtype)
        # where the source says "params", only a format that cannot be learned overrules it,
        # and a name that no parameter has
        sure = not is_trainable(dtype) or path[-1:] == (CORRECTION,)
        if state and (not collection or sure):
            collection, rule = state
    collection = collection or PARAMS
    role, component = classify(path, shape)
    return Kind(
        shape=shape,
        dtype=dtype,
        size=prod(shape),
        nbytes=nbytes,
        role=role if collection in (PARAMS, extra_layers.COLLECTION) else "other",
        component=component,
        collection=collection,
        rule=rule,
        stored=stored,
    )


def _told(kind: Kind, key: Key, listing: Listing) -> Kind:
    """Return a kind with what the source knows beyond names: stacks and traced roles."""
    stack = listing.stacks.get(key)
    role = listing.roles.get(key) if listing.roles else None
    if stack is None and (role is None or not kind.is_parameter):
        return kind
    return msgspec.structs.replace(kind, stack=stack or (), role=role or kind.role)


def _mark(tensors: list[TensorSpec], ties: list[Tie], listing: Listing) -> None:
    """Mark aliases and shardings, which belong to a tensor and not to its kind."""
    aliases = {key for tie in ties for key in tie.keys[1:]}
    shardings = listing.shardings
    if not aliases and not shardings:
        return
    for index, tensor in enumerate(tensors):
        sharding = shardings.get(tensor.key)
        if tensor.key in aliases or sharding:
            tensors[index] = TensorSpec(
                tensor.key,
                tensor.kind,
                tensor.key in aliases,
                sharding.axes if sharding else "",
                sharding.device_nbytes if sharding else None,
            )
