"""The ledger: every figure of an inventory, how it is known, and what explains it."""

from collections.abc import Callable

import msgspec

from explorer.analyses.notes import notes_of
from explorer.inventory import PARAMS, Inventory, Kind
from explorer.paths import name_of

__all__ = ["Ledger", "ledger_of"]


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What `explorer count` prints of one target; every count and byte total is an int.

    `roles` and `components` add up to `parameters`; `dtypes` and `collections` to all
    unique elements. `active_parameters` is None where nothing says how many experts a
    token uses. `provenance` says of each figure whether it is "exact", "inferred (rule)"
    or "assumed (why)".
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
    active_parameters: dict[str, object] | None
    provenance: dict[str, str]
    notes: list[str]


def ledger_of(inventory: Inventory) -> Ledger:
    """Return the ledger of an inventory."""
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
        active_parameters=None,
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
    sums: dict[str, int] = {}
    for kind, _, unique in inventory.kinds:
        if unique and (kind.is_parameter or not parameters_only):
            sums[word(kind)] = sums.get(word(kind), 0) + unique * kind.size
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def _provenance(inventory: Inventory) -> dict[str, str]:
    kinds = [kind for kind, _, _ in inventory.kinds]
    rules = sorted({kind.rule for kind in kinds if kind.rule and not kind.stored})
    packed = sorted({kind.rule for kind in kinds if kind.stored and kind.is_parameter})
    ties = sorted({tie.by for tie in inventory.ties})
    assumed = [text for figure, text in inventory.assumptions if figure == "parameters"]
    assumed += [rule for rule in packed if "assumed" in rule]
    inferred = [*packed, *ties, *(f"{rule} are no parameters" for rule in rules)]
    if assumed:
        parameters = f"assumed ({'; '.join(assumed[:3])})"
    elif inferred:
        parameters = f"inferred ({'; '.join(inferred[:4])})"
    else:
        parameters = "exact"
    by_role = f"inferred (roles by {inventory.role_by})"
    return {
        "tensors": "exact",
        "parameters": parameters,
        "parameter_tensors": parameters,
        "weights": by_role,
        "biases": by_role,
        "buffers": "exact"
        if not rules
        else f"inferred (by name and format: {', '.join(rules[:4])})",
        "stored_elements": "exact",
        "nbytes": "exact" if not ties else f"inferred ({'; '.join(ties[:2])})",
        **({} if inventory.file_bytes is None else {"file_bytes": "exact"}),
        "roles": by_role,
        "components": by_role,
        "dtypes": "exact" if not packed else "inferred (packing undone)",
        "collections": "exact" if not rules else "inferred (by name and format)",
    }
