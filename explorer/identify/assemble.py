"""Listing -> Inventory: what each listed tensor is, found once for each distinct row."""

from collections.abc import Sequence
from math import prod
from typing import Any

from explorer.identify import extra_layers, packing
from explorer.identify.config import Config
from explorer.identify.packing import Packed
from explorer.identify.state import NamedArray, State, needs_neighbours, states_of
from explorer.identify.tying import find_ties
from explorer.inventory.columns import Columns
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Basis, Inventory
from explorer.inventory.listing import Listing, Logical, firsts_of, number, renumbered
from explorer.inventory.tensor import PARAMS, Kind
from explorer.paths import path_of, template_of, templates_of
from explorer.roles.names import classify, names_tell, split_names

__all__ = ["assemble"]

# A dict with `params` says what is in it, but NNX's statistics may be among them.
_DICT = "flax variables"
_AVERAGE = "ema"
# What a source or a packing scheme adds to a tensor's header: its collection, and what it
# is logically.
_Mark = tuple[str, Packed | None]


def assemble(listing: Listing, target: str = "", config: Config | None = None) -> Inventory:
    """Return the inventory of what a source lists.

    Args:
        listing: the columns of a header or a tree.
        target: the name the user gave.
        config: the config.json beside the weights, where there is one.
    """
    with paused_gc():
        rows = _rows(listing)
        quantized = _quantized(listing, rows, config)
        columns, named = _columns(listing, rows, quantized.packed)
        ties = find_ties(columns, listing, config)
        aliases = {key for tie in ties.groups for key in tie.keys[1:]}
        if aliases:
            columns.aliases = frozenset(
                index for index, key in enumerate(columns.keys) if key in aliases
            )
    return Inventory(
        columns=columns,
        target=target,
        source=listing.format,
        ties=tuple(ties.groups),
        file_bytes=listing.file_bytes,
        files=listing.files,
        remarks=tuple(listing.remarks),
        rules=ties.rules,
        assumptions=(
            *(("parameters", sentence) for sentence in quantized.unread),
            *ties.assumptions,
        ),
        role_by="name" if listing.roles is None else "use",
        parameters_by=_basis(columns, listing, named),
        metadata=listing.metadata,
        is_packing_said=bool(listing.logical),
    )


def _quantized(
    listing: Listing, rows: Sequence[int], config: Config | None
) -> packing.Quantization:
    """Return what packed tensors are: as the source says, or else as names and shapes do."""
    if listing.logical:
        return packing.Quantization(_said(listing))
    return packing.find(
        listing.keys,
        listing.shapes,
        listing.dtypes,
        firsts=firsts_of(rows),
        config=config.quantization if config else None,
        metadata=listing.metadata,
    )


def _said(listing: Listing) -> dict[int, Packed]:
    """Return what the source says of packed tensors; equal ones share a verdict."""
    known: dict[tuple[bytes, Logical], Packed] = {}
    found = {}
    for index, key in enumerate(listing.keys):
        logical = listing.logical.get(key)
        if logical is not None:
            shape, dtype, rule = logical.shape, logical.dtype, logical.rule
            packed = Packed(shape, dtype, PARAMS, rule, path_of(key))
            found[index] = known.setdefault((template_of(key), logical), packed)
    return found


def _rows(listing: Listing) -> Sequence[int]:
    """Return a number for each tensor, one for those of a pattern, shape, dtype and size."""
    return listing.rows or number(
        templates_of(listing.keys), listing.shapes, listing.dtypes, listing.nbytes
    )


def _columns(
    listing: Listing, rows: Sequence[int], verdicts: dict[int, Packed]
) -> tuple[Columns, bool]:
    """Return the tensors of a listing, and whether their names say anything.

    Kinds are found once for each distinct row.
    """
    keys = listing.keys
    templates = {template_of(keys[index]) for index in firsts_of(rows)}
    marks, marked = _marks(listing, templates, verdicts)
    # what a tensor is depends on its row, and on what else is known of it
    known: list[list[Any]] = [marked] if marked else []
    if listing.roles:
        known.append([listing.roles.get(key) for key in keys])
    if listing.components:
        known.append([listing.components.get(key) for key in keys])
    if known:
        rows = number(rows, *known)
    firsts = firsts_of(rows)
    states = _states(listing, firsts, marks, marked)
    named = _is_named(listing, firsts)
    numbers: dict[Kind, int] = {}
    number_of = []
    for index, state in zip(firsts, states, strict=True):
        mark = marks[marked[index]] if marked else ("", None)
        kind = _kind(listing, index, mark, state, named)
        number_of.append(numbers.setdefault(kind, len(numbers)))
    shardings = {}
    if listing.shardings:
        shardings = {
            index: listing.shardings[key]
            for index, key in enumerate(keys)
            if key in listing.shardings
        }
    numbered = renumbered(rows, number_of)
    return Columns(keys, list(numbers), numbered, (), shardings), named


def _open_average(listing: Listing) -> list[str] | None:
    """Return the collections of a listing; an average of nothing else is what there is."""
    collections = listing.collections
    words = set(collections or ())
    if listing.typed or _AVERAGE not in words or not words.isdisjoint(("", PARAMS)):
        return collections
    return [word.removeprefix(_AVERAGE) for word in collections or ()]


def _marks(
    listing: Listing, templates: set[bytes], verdicts: dict[int, Packed]
) -> tuple[list[_Mark], list[int]]:
    """Return the distinct marks, and the index of each tensor's; usually there are none."""
    collections = _open_average(listing)
    if extra_layers.suspects(templates):
        collections = extra_layers.mark(listing.keys, collections)
    if collections is None and not verdicts:
        return [], []
    # equal tensors share one verdict object, so that its identity is enough
    numbers: dict[tuple[str, int], int] = {}
    marks: list[_Mark] = []
    marked = []
    for index, collection in enumerate(collections or [""] * len(listing.keys)):
        verdict = verdicts.get(index)
        identity = (collection, id(verdict))
        number = numbers.get(identity)
        if number is None:
            numbers[identity] = number = len(marks)
            marks.append((collection, verdict))
        marked.append(number)
    return marks, marked


def _states(
    listing: Listing, firsts: list[int], marks: list[_Mark], marked: list[int]
) -> list[State | None]:
    """Return the state of the first tensor of each distinct row, None for a parameter."""
    # equal tensors are read once, unless what stands beside each of them matters
    everyone = range(len(listing.keys))
    beside = needs_neighbours(path_of(listing.keys[index]) for index in firsts)
    compared = everyone if beside else firsts
    rows = []
    for index in compared:
        collection, packed = marks[marked[index]] if marked else ("", None)
        rows.append(
            NamedArray(
                tuple(split_names(path_of(listing.keys[index]))),
                listing.shapes[index],
                listing.dtypes[index],
                packed.collection if packed else collection,
                (listing.typed and listing.format != _DICT) or packed is not None,
            )
        )
    states = states_of(rows)
    return [states[index] for index in firsts] if beside else states


def _is_named(listing: Listing, firsts: list[int]) -> bool:
    """Return whether the names of a listing say anything: those of a, b and c do not."""
    return names_tell(path_of(listing.keys[index]) for index in firsts)


def _kind(
    listing: Listing, index: int, mark: _Mark, state: State | None, named: bool
) -> Kind:
    key, shape, dtype = listing.keys[index], listing.shapes[index], listing.dtypes[index]
    collection, packed = mark
    path = packed.path if packed else path_of(key)
    rule = extra_layers.RULE if collection == extra_layers.COLLECTION else ""
    stored = None
    if packed:
        # scales under `params` are in the tree of the parameters and none of them
        collection = packed.collection if collection in ("", PARAMS) else collection
        rule = packed.rule
        stored = (shape, dtype, prod(shape))
        shape, dtype = packed.shape, packed.dtype
    elif state:
        collection, rule = state
    collection = collection or PARAMS
    # where no name is known, classify is asked about a nameless array
    role, component = classify(path if named else (), shape)
    component = listing.components.get(key, component)
    traced = listing.roles.get(key) if listing.roles else None
    if traced and collection == PARAMS:
        role = traced
    elif collection not in (PARAMS, extra_layers.COLLECTION):
        role = "other"
    return Kind(
        shape=shape,
        dtype=dtype,
        size=prod(shape),
        nbytes=listing.nbytes[index],
        role=role,
        component=component,
        collection=collection,
        rule=rule,
        stored=stored,
        stack=listing.stacks.get(key, ()),
    )


def _basis(columns: Columns, listing: Listing, named: bool) -> Basis:
    """Return what says which of a listing's tensors are parameters."""
    numbers = {n for n, kind in enumerate(columns.kinds) if kind.is_parameter}
    if not numbers:
        return "source" if listing.typed else "name"
    said = {""}
    if listing.collections:
        pairs = zip(columns.numbers, listing.collections, strict=True)
        said = {word for n, word in pairs if n in numbers}
    if not said <= {PARAMS}:
        return "name" if named else "use" if listing.roles is not None else "format"
    return "source" if listing.typed else "collection"
