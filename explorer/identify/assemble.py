"""Listing -> Inventory: what each listed tensor is, found once for each distinct row."""

from collections import defaultdict
from itertools import count
from math import prod
from operator import itemgetter

from explorer.identify import extra_layers, packing
from explorer.identify.config import Config
from explorer.identify.packing import Packed
from explorer.identify.state import NamedArray, State, states_of
from explorer.identify.tying import find_ties
from explorer.inventory.columns import Columns
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.inventory import Basis, Inventory
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS, Kind
from explorer.paths import path_of, templates_of
from explorer.roles.names import classify, names_tell, split_names

__all__ = ["assemble"]

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
        columns, named = _columns(listing, config)
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
        assumptions=ties.assumptions,
        role_by="name" if listing.roles is None else "use",
        parameters_by=_basis(columns, listing, named),
        metadata=listing.metadata,
    )


def _columns(listing: Listing, config: Config | None) -> tuple[Columns, bool]:
    """Return the tensors of a listing, and whether their names say anything.

    Kinds are found once for each distinct row.
    """
    keys = listing.keys
    templates = templates_of(keys)
    marks, marked = _marks(listing, set(templates), config)
    rows = _numbered_rows(listing, templates, marked)
    firsts = _first_of_each(rows)
    states = _states(listing, firsts, marks, marked)
    named = _is_named(listing, firsts)
    numbers: dict[Kind, int] = {}
    number_of = {}
    for (row, index), state in zip(firsts.items(), states, strict=True):
        mark = marks[marked[index]] if marked else ("", None)
        kind = _kind(listing, index, mark, state, named)
        number_of[row] = numbers.setdefault(kind, len(numbers))
    shardings = {}
    if listing.shardings:
        shardings = {
            index: listing.shardings[key]
            for index, key in enumerate(keys)
            if key in listing.shardings
        }
    numbered = [number_of[row] for row in rows]
    return Columns(keys, list(numbers), numbered, (), shardings), named


def _numbered_rows(
    listing: Listing, templates: list[bytes], marked: list[int]
) -> list[int]:
    """Return a number for each tensor; what a tensor is depends on its row alone."""
    columns = [templates, listing.shapes, listing.dtypes, listing.nbytes]
    if marked:
        columns.append(marked)
    if listing.roles:
        columns.append([listing.roles.get(key) for key in listing.keys])
    numbers = defaultdict(count().__next__)
    return list(map(numbers.__getitem__, zip(*columns, strict=True)))


def _first_of_each(rows: list[int]) -> dict[int, int]:
    """Return the distinct rows in order, each with the index of the first tensor of it."""
    firsts = dict(zip(reversed(rows), range(len(rows) - 1, -1, -1), strict=True))
    return dict(sorted(firsts.items(), key=itemgetter(1)))


def _marks(
    listing: Listing, templates: set[bytes], config: Config | None
) -> tuple[list[_Mark], list[int]]:
    """Return the distinct marks, and the index of each tensor's; usually there are none."""
    collections = listing.collections
    if extra_layers.suspects(templates):
        collections = extra_layers.mark(listing.keys, collections)
    verdicts: dict[int, Packed] = {}
    if packing.suspects(templates):
        hint = config.quantization if config else None
        verdicts = packing.unpack(listing.keys, listing.shapes, listing.dtypes, config=hint)
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
    listing: Listing, firsts: dict[int, int], marks: list[_Mark], marked: list[int]
) -> list[State | None]:
    """Return the state of the first tensor of each distinct row, None for a parameter."""
    rows = []
    for index in firsts.values():
        collection, packed = marks[marked[index]] if marked else ("", None)
        rows.append(
            NamedArray(
                tuple(split_names(path_of(listing.keys[index]))),
                listing.shapes[index],
                listing.dtypes[index],
                packed.collection if packed else collection,
                listing.typed or packed is not None,
            )
        )
    return states_of(rows)


def _is_named(listing: Listing, firsts: dict[int, int]) -> bool:
    """Return whether the names of a listing say anything: those of a, b and c do not."""
    return names_tell(path_of(listing.keys[index]) for index in firsts.values())


def _kind(
    listing: Listing, index: int, mark: _Mark, state: State | None, named: bool
) -> Kind:
    key, shape, dtype = listing.keys[index], listing.shapes[index], listing.dtypes[index]
    collection, packed = mark
    path = packed.path if packed else path_of(key)
    rule = extra_layers.RULE if collection == extra_layers.COLLECTION else ""
    stored = None
    if packed:
        collection, rule = collection or packed.collection, packed.rule
        stored = (shape, dtype, prod(shape))
        shape, dtype = packed.shape, packed.dtype
    elif state:
        collection, rule = state
    collection = collection or PARAMS
    # where no name is known, classify is asked about a nameless array
    role, component = classify(path if named else (), shape)
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
    words = listing.collections or [""] * len(listing.keys)
    said = {word for n, word in zip(columns.numbers, words, strict=True) if n in numbers}
    if not said <= {PARAMS}:
        return "name" if named else "use" if listing.roles is not None else "format"
    return "source" if listing.typed else "collection"
