"""The record behind a report: what is known of each target, and how two differ."""

import msgspec

from explorer.analyses.comparison import Comparison
from explorer.inventory.inventory import Inventory
from explorer.roles.report import RoleReport
from explorer.sizing.grid import PlanGrid
from explorer.sizing.training_grid import TrainingGrid
from explorer.values.records import Description

__all__ = ["Flops", "ModelReport", "ReportedModel"]


class Flops(msgspec.Struct, frozen=True):
    """The operations of one token forward: at contexts in tokens, two for a multiply-add.

    `parameters` multiply each token, `once` only one vector of a text.
    """

    parameters: int
    by_context: dict[int, int]
    once: int = 0


class ReportedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a report says of one target.

    Attributes:
        inventory: its tensors.
        grid: its memory; None where nothing can be planned, for the reason `no_grid`.
        training: its memory in training; None where nothing can be planned.
        described: statistics of its values; None for the reason `no_values`.
        roles: by use; None where they were not asked for.
        flops: of one token; None where no architecture says them.
    """

    inventory: Inventory
    grid: PlanGrid | None = None
    no_grid: str = ""
    training: TrainingGrid | None = None
    described: Description | None = None
    no_values: str = ""
    roles: RoleReport | None = None
    flops: Flops | None = None


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One target or two, and what differs from the first to the second."""

    models: tuple[ReportedModel, ...]
    comparison: Comparison | None = None
    version: str = ""
