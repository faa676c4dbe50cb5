"""Listing -> Inventory: what each listed tensor is, found once for each pattern."""

from math import prod

from explorer.bulk import paused_gc
from explorer.dtypes import is_trainable
from explorer.inventory import PARAMS, Inventory, Kind, TensorSpec, Tie
from explorer.paths import Key, path_of, templates_of
from explorer.roles.names import classify
from explorer.roles.state import state_of
from explorer.sources import extra_layers, packing
from explorer.sources.config import Config
from explorer.sources.listing import Listing
from explorer.sources.packing import Packed
from explorer.sources.tying import find_ties

__all__ = ["assemble"]

# (template, stored shape, stored format, stored bytes, collection, verdict on packing)
_Row = tuple[bytes, tuple[int, ...], str, int, str, Packed | None]


def assemble(listing: Listing, target: str = "", config: Config | None = None) -> Inventory:
    """Return the inventory of what a source lists.

    Args:
        listing: the columns of a header or a tree.
        target: the name the user gave.
        config: of the config.json beside the weights, where there is one.
    """
    with paused_gc():
        rows = _rows(listing, config)
        # what a row is depends on nothing but the row: one tensor stands for all alike
        samples = dict(zip(rows, listing.keys, strict=True))
        kinds = {row: _kind(key, row) for row, key in samples.items()}
        tensors = list(map(TensorSpec, listing.keys, map(kinds.__getitem__, rows)))
        ties, assumptions = find_ties(tensors, kinds.values(), listing, config)
        _mark(tensors, ties, listing)
    return Inventory(
        tensors=tuple(tensors),
        target=target,
        source=listing.format,
        ties=tuple(ties),
        file_bytes=listing.file_bytes,
        files=listing.files,
        remarks=tuple(listing.remarks),
        assumptions=assumptions,
        metadata=listing.metadata,
    )


def _rows(listing: Listing, config: Config | None) -> list[_Row]:
    templates = templates_of(listing.keys)
    collections = listing.collections or [""] * len(templates)
    verdicts: list[Packed | None] = [None] * len(templates)
    patterns = set(templates)
    if packing.suspects(patterns):
        hint = config.quantization if config else None
        unpacked = packing.unpack(listing.keys, listing.shapes, listing.dtypes, config=hint)
        for index, verdict in unpacked.items():
            verdicts[index] = verdict
    if extra_layers.suspects(patterns):
        collections = extra_layers.mark(listing.keys, collections)
    columns = (
        templates,
        listing.shapes,
        listing.dtypes,
        listing.nbytes,
        collections,
        verdicts,
    )
    return list(zip(*columns, strict=True))


def _kind(key: Key, row: _Row) -> Kind:
    _, shape, dtype, nbytes, collection, packed = row
    path = packed.path if packed else path_of(key)
    rule, stored = "", None
    if packed:
        collection, rule = collection or packed.collection, packed.rule
        stored = (shape, dtype, prod(shape))
        shape, dtype = packed.shape, packed.dtype
    elif collection in ("", PARAMS):
        state = state_of(path, shape, dtype)
        # where the source says "params", only a format that cannot be learned overrules it
        if state and (not collection or not is_trainable(dtype)):
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
