"""Subjects and their weights, for tests."""

import json
from pathlib import Path
from typing import Any

from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Workload
from explorer.sizing.subject import Subject
from explorer.sizing.weights.totals import Weights
from explorer.sizing.weights.weights import weights_of
from explorer.targets import resolve
from explorer.targets.inventories import inventory_of, known_architecture_of

FACTS = Path(__file__).parents[2] / "data" / "sizing"


def facts(name: str) -> dict[str, Any]:
    """Return published figures by the name of their file."""
    return json.loads((FACTS / f"{name}.json").read_text(encoding="utf-8"))


def subject(target: Any) -> Subject:
    """Return what is sized for a target."""
    found = resolve(target)
    inventory = inventory_of(found)
    return Subject(inventory.target, inventory, known_architecture_of(found))


def weights(target: Any, mesh: dict[str, int] | None = None, **settings: Any) -> Weights:
    """Return the weights of a target for a workload."""
    placement = Placement(mesh=mesh or {})
    return weights_of(subject(target), Workload(**settings), placement)
