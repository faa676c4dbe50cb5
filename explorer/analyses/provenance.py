"""How each figure of an inventory is known: exact, inferred by a rule, or assumed."""

from typing import NamedTuple

from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import BUFFER_COLLECTIONS, PARAMS, Kind

__all__ = ["provenance_of"]

_LIKEWISE = "as parameters"


class _Reasons(NamedTuple):
    """What the figures of an inventory rest on.

    Attributes:
        guesses: what says which tensors are parameters, where it is an assumption.
        assumptions: what was assumed of ties and of packed weights.
        packed: rules by which packed weights have their logical shape.
        ties: rules by which tensors are one, or are not.
        left_out: what was left out by its name or its dtype.
        basis: what says which tensors are parameters, where it is an inference.
    """

    guesses: list[str]
    assumptions: list[str]
    packed: list[str]
    ties: list[str]
    left_out: list[str]
    basis: list[str]


def provenance_of(inventory: Inventory) -> dict[str, str]:
    """Return for each figure of a ledger how it is known.

    >>> import explorer as ex, numpy as np
    >>> provenance_of(ex.explore({"bn": {"scale": np.ones(3)}}))["parameters"]
    'inferred (by name and shape; a plain tree does not mark buffers)'
    """
    kinds = [kind for kind, _, _ in inventory.kinds]
    why = _reasons(inventory, kinds)
    parameters = _known(
        [*why.guesses, *why.assumptions],
        [*why.packed, *why.ties, *why.left_out, *why.basis],
    )
    likewise = [_LIKEWISE] if why.guesses or why.assumptions else []
    weights = _known(likewise, [f"roles by {inventory.role_by}"])
    # of an architecture that is assumed, its tensors are too
    is_declared = inventory.is_declared and inventory.assumptions
    declared = [_LIKEWISE] if is_declared else []
    bytes_assumed = [_LIKEWISE] if inventory.assumptions else _unpacked(inventory, kinds)
    elements = _known(likewise, [*why.packed, *why.ties])
    return {
        # a figure's own name wins over a collection's
        **_collections(kinds, inventory.parameters_by in ("source", "model")),
        "tensors": _known(declared, []),
        "parameters": parameters,
        "parameter_tensors": parameters,
        "weights": weights,
        "biases": _biases(inventory, declared or (why.guesses[:1] and [_LIKEWISE])),
        "buffers": _known(declared, _by_names(kinds, BUFFER_COLLECTIONS) or why.basis),
        "stored_elements": _known(declared, []),
        "nbytes": _known(bytes_assumed, why.ties),
        **({} if inventory.file_bytes is None else {"file_bytes": "exact"}),
        "roles": weights,
        "components": weights,
        "dtypes": elements,
        "collections": _known(likewise, [*why.packed, *why.ties, *_by_names(kinds, None)]),
    }


def _reasons(inventory: Inventory, kinds: list[Kind]) -> _Reasons:
    packed = sorted({kind.rule for kind in kinds if kind.stored and kind.is_parameter})
    if inventory.is_packing_said:
        packed = []  # the source itself knows what its packed tensors stand for
    guesses, basis = _basis(inventory)
    names = _rules(kinds, None)
    verb = "is" if len(names) == 1 and names[0].endswith("state") else "are"
    left_out = [f"{_enumerated(names)} {verb} not parameters"] if names else []
    if inventory.parameters_by == "model":
        left_out = []  # what stands beside a model is not its own
    return _Reasons(
        guesses,
        [
            *(text for _, text in inventory.assumptions),
            *(rule for rule in packed if "assumed" in rule),
        ],
        packed,
        _ties(inventory),
        left_out,
        basis,
    )


def _ties(inventory: Inventory) -> list[str]:
    """Return the rules that decided which tensors are one, where that changes a figure."""
    columns = inventory.columns
    # a second name that is not stored changes none
    aliases = {columns.keys[index] for index in columns.aliases}
    deciding = {
        t.by for t in inventory.ties if not t.shown and aliases.intersection(t.keys)
    }
    return [*sorted(deciding), *inventory.rules]


def _rules(kinds: list[Kind], collections: tuple[str, ...] | None) -> list[str]:
    """Return what was recognised as state, in these collections or in all."""
    return sorted(
        {
            kind.rule
            for kind in kinds
            if kind.rule
            and not kind.is_parameter
            and not kind.stored
            and (collections is None or kind.collection in collections)
        }
    )


def _by_names(kinds: list[Kind], collections: tuple[str, ...] | None) -> list[str]:
    names = _rules(kinds, collections)
    return [f"by name and format: {', '.join(names)}"] if names else []


def _collections(kinds: list[Kind], is_declared: bool) -> dict[str, str]:
    """Return how each collection is known: exactly where the source declares its own."""
    by_rule = {kind.collection for kind in kinds if kind.rule}
    otherwise = [] if is_declared else ["by the name of what holds it"]
    return {
        name: _known([], ["by name and shape"] if name in by_rule else otherwise)
        for name in {kind.collection: None for kind in kinds}
        if name not in (PARAMS, *BUFFER_COLLECTIONS)
    }


def _biases(inventory: Inventory, likewise: list[str]) -> str:
    own = [text for figure, text in inventory.assumptions if figure == "biases"]
    return _known([*likewise, *own], [f"roles by {inventory.role_by}"])


def _basis(inventory: Inventory) -> tuple[list[str], list[str]]:
    """Return what is assumed, and what is inferred, of which tensors are parameters."""
    if not inventory.num_parameter_tensors:
        is_known = inventory.parameters_by in ("source", "model")
        return [], [] if is_known else ["by names and dtypes"]
    holder = "a plain tree" if inventory.source == "pytree" else "the format"
    match inventory.parameters_by:
        case "source" | "model":
            return [], []
        case "collection":
            return [], [f"by the name of the collection {PARAMS}"]
        case "name":
            return [], [f"by name and shape; {holder} does not mark buffers"]
        case "use":
            return [], ["every float tensor of what is called"]
        case "format":
            return ["every float tensor, as no name is known"], []


def _unpacked(inventory: Inventory, kinds: list[Kind]) -> list[str]:
    """Return what is taken for granted of the bytes of a model without files."""
    if inventory.card is None or inventory.files or not inventory.is_declared:
        return []
    return [f"every tensor in {kinds[0].dtype}"] if kinds else []


def _known(assumed: list[str], inferred: list[str]) -> str:
    """Return how a figure is known: "exact" where nothing had to be assumed or inferred."""
    word, reasons = ("assumed", assumed) if assumed else ("inferred", inferred)
    return f"{word} ({_listed(reasons)})" if reasons else "exact"


def _enumerated(names: list[str], most: int = 3) -> str:
    """Return "a, b and c", of more than four names the first three."""
    if len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} more"]
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _listed(reasons: list[str], most: int = 4) -> str:
    more = len(reasons) - most
    return "; ".join([*reasons[:most], *([f"{more} more"] if more > 0 else [])])
