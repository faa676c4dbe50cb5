"""The ledger: every figure of an inventory, how it is known, and what explains it."""

from collections.abc import Callable

import msgspec

from explorer.analyses.active import ActiveParameters, active_parameters
from explorer.analyses.notes import notes_of
from explorer.inventory.card import Advertised, Agreement
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import BUFFER_COLLECTIONS, PARAMS, Kind
from explorer.inventory.totals import ZERO, Totals
from explorer.paths import name_of

__all__ = ["Ledger", "ledger_of"]


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What `explorer count` prints of one target; every count and byte total is an int.

    `roles` and `components` add up to `parameters`; `dtypes` and `collections` to all
    unique elements. `active_parameters` is None where no architecture says how many experts
    a token uses; `advertised` what the publisher claims, `agreement` how a checkpoint fits
    its config, `checkpoint_tensors` how many tensors its checkpoints have. `provenance` says of each figure whether it is "exact", "inferred (rule)"
    or "assumed (why)".

    >>> import explorer as ex, numpy as np
    >>> layer = {"kernel": np.ones((4, 3)), "bias": np.ones(3)}
    >>> found = ex.ledger({"params": {"dense": layer}})
    >>> found.parameters, found.roles, found.provenance["parameters"]
    (15, {'kernel': 12, 'bias': 3}, 'exact')
    """

    target: str
    source: str
    tensors: int
    parameter_tensors: int
    parameters: int
    weights: int
    biases: int
    buffers: int
    stored_elements: int
    nbytes: int
    file_bytes: int | None
    bits_per_weight: float | None
    roles: dict[str, int]
    components: dict[str, int]
    dtypes: dict[str, int]
    collections: dict[str, int]
    tied: list[list[str]]
    active_parameters: ActiveParameters | None
    advertised: Advertised | None
    checkpoint_tensors: int | None
    agreement: Agreement | None
    provenance: dict[str, str]
    notes: list[str]


def ledger_of(inventory: Inventory) -> Ledger:
    """Return the ledger of an inventory."""
    card = inventory.card
    return Ledger(
        target=inventory.target,
        source=inventory.source,
        tensors=inventory.num_tensors,
        parameter_tensors=inventory.num_parameter_tensors,
        parameters=inventory.num_parameters,
        weights=inventory.num_weights,
        biases=inventory.num_biases,
        buffers=inventory.num_buffers,
        stored_elements=inventory.num_stored_elements,
        nbytes=inventory.nbytes,
        file_bytes=inventory.file_bytes,
        bits_per_weight=bits_per_weight(inventory),
        roles=_group(inventory, lambda kind: kind.role, parameters_only=True),
        components=_group(inventory, lambda kind: kind.component, parameters_only=True),
        dtypes=_group(inventory, lambda kind: kind.dtype),
        collections=_group(inventory, lambda kind: kind.collection),
        tied=[[name_of(key) for key in tie.keys] for tie in inventory.ties],
        active_parameters=active_parameters(inventory),
        advertised=card.advertised if card else None,
        checkpoint_tensors=card.checkpoint_tensors if card else None,
        agreement=card.agreement if card else None,
        provenance=_provenance(inventory),
        notes=notes_of(inventory),
    )


def bits_per_weight(inventory: Inventory) -> float | None:
    """Return stored bits for one parameter, quantisation state included; None without any.

    Stored bytes of parameters and of their scales and zero points x 8 / parameters.
    """
    if not inventory.num_parameters:
        return None
    stored = inventory.total(
        lambda kind: kind.nbytes, lambda kind: kind.collection in (PARAMS, "quantization")
    )
    return 8 * stored / inventory.num_parameters


def _group(
    inventory: Inventory, word: Callable[[Kind], str], parameters_only: bool = False
) -> dict[str, int]:
    """Return unique elements by a word of their kind, the largest group first."""
    sums: dict[str, Totals] = {}
    for kind, named, unique in inventory.kinds:
        if unique and (kind.is_parameter or not parameters_only):
            sums[word(kind)] = sums.get(word(kind), ZERO) + Totals.of(kind, named, unique)
    elements = {name: totals.elements for name, totals in sums.items()}
    return dict(sorted(elements.items(), key=lambda item: (-item[1], item[0])))


def _provenance(inventory: Inventory) -> dict[str, str]:
    kinds = [kind for kind, _, _ in inventory.kinds]
    state = [kind for kind in kinds if not kind.is_parameter and not kind.stored]
    packed = sorted({kind.rule for kind in kinds if kind.stored and kind.is_parameter})
    names = sorted({kind.rule for kind in state if kind.rule})
    with_rule = {kind.collection for kind in kinds if kind.rule}
    buffers = {kind.rule for kind in state if kind.collection in BUFFER_COLLECTIONS}
    buffer_names = sorted(buffers - {""})
    # a second name that is not stored changes no figure
    columns = inventory.columns
    aliases = {columns.keys[index] for index in columns.aliases}
    deciding = {
        t.by for t in inventory.ties if not t.shown and aliases.intersection(t.keys)
    }
    decided = [*sorted(deciding), *inventory.rules]
    verb = "is" if len(names) == 1 and names[0].endswith("state") else "are"
    left_out = [f"{_enumerated(names)} {verb} not parameters"] if names else []
    if inventory.parameters_by == "model":
        left_out = []  # what stands beside a model is not its own
    guesses = [rule for rule in packed if "assumed" in rule]
    untied = [text for _, text in inventory.assumptions]
    by_role = [f"roles by {inventory.role_by}"]
    by_format, by_name = _basis(inventory)
    parameters = _known(
        [*by_format, *untied, *guesses], [*packed, *decided, *left_out, *by_name]
    )
    likewise = ["as parameters"] if by_format or untied or guesses else []
    weights = _known(likewise, by_role)
    # of an architecture that is assumed, its tensors are too
    declared = ["as parameters"] if untied and inventory.is_declared else []
    by_format_and_name = [f"by name and format: {', '.join(names)}"] if names else []
    return {
        # what a source itself calls by a collection's name is exact; a figure's name wins
        **{
            name: _known([], ["by name and shape"] if name in with_rule else [])
            for name in {kind.collection: None for kind in kinds}
            if name not in (PARAMS, *BUFFER_COLLECTIONS)
        },
        "tensors": _known(declared, []),
        "parameters": parameters,
        "parameter_tensors": parameters,
        "weights": weights,
        "biases": _known(
            [
                *(["as parameters"] if by_format else declared),
                *(text for figure, text in inventory.assumptions if figure == "biases"),
            ],
            by_role,
        ),
        "buffers": _known(
            declared, buffer_names and [f"by name and format: {', '.join(buffer_names)}"]
        ),
        "stored_elements": _known(declared, []),
        "nbytes": _known(
            ["as parameters"] if untied else _unpacked(inventory, kinds), decided
        ),
        **({} if inventory.file_bytes is None else {"file_bytes": "exact"}),
        "roles": weights,
        "components": weights,
        "dtypes": _known(likewise, [*packed, *decided]),
        "collections": _known(likewise, [*packed, *decided, *by_format_and_name]),
    }


def _basis(inventory: Inventory) -> tuple[list[str], list[str]]:
    """Return what is assumed, and what is inferred, of which tensors are parameters."""
    if not inventory.num_parameter_tensors:
        return [], []
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
