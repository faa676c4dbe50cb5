"""The ledger: every figure of an inventory, how it is known, and what explains it."""

from collections.abc import Callable, Sequence

from explorer.analyses.active import ActiveParameters, active_parameters
from explorer.analyses.notes import notes_of
from explorer.analyses.provenance import provenance_of
from explorer.analyses.widths import WIDTHS, bytes_at
from explorer.document.exporting import Exportable
from explorer.inventory.card import Advertised, Agreement
from explorer.inventory.inventory import Inventory
from explorer.inventory.own_names import component_totals
from explorer.inventory.tensor import PARAMS, Kind
from explorer.inventory.totals import ZERO, Totals
from explorer.paths import name_of

__all__ = ["Ledger", "ledger_of"]


class Ledger(Exportable, frozen=True, kw_only=True):
    """What `explorer count` prints of one target; every count and byte total is an int.

    `roles` and `components` add up to `parameters`; `dtypes` and `collections` to all
    unique elements. Parameters of no known component are under their modules' own names.
    `active_parameters` is None where no architecture says how many experts a token uses; `advertised` what the publisher claims, `agreement` how a checkpoint fits
    its config, `checkpoint_tensors` how many tensors its checkpoints have. `bytes_at` is what the
    parameters take at numbers of bits each. `provenance` says of each figure whether it is
    "exact", "inferred (rule)" or "assumed (why)".

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
    bytes_at: dict[str, int]
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


def ledger_of(inventory: Inventory, widths: Sequence[str] = WIDTHS) -> Ledger:
    """Return the ledger of an inventory; `widths` are the numbers of bits of `bytes_at`."""
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
        bytes_at=bytes_at(inventory.num_parameters, widths),
        roles=_group(inventory, lambda kind: kind.role, parameters_only=True),
        components=_components(inventory),
        dtypes=_group(inventory, lambda kind: kind.dtype),
        collections=_group(inventory, lambda kind: kind.collection),
        tied=[[name_of(key) for key in tie.keys] for tie in inventory.ties],
        active_parameters=active_parameters(inventory),
        advertised=card.advertised if card else None,
        checkpoint_tensors=card.checkpoint_tensors if card else None,
        agreement=card.agreement if card else None,
        provenance=provenance_of(inventory),
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
    return _ordered({name: totals.elements for name, totals in sums.items()})


def _components(inventory: Inventory) -> dict[str, int]:
    """Return parameters by component; what is of none, by the names of its modules."""
    found = component_totals(inventory.columns)
    return _ordered(
        {name: sums.parameters for name, sums in found.items() if sums.parameters}
    )


def _ordered(elements: dict[str, int]) -> dict[str, int]:
    return dict(sorted(elements.items(), key=lambda item: (-item[1], item[0])))
