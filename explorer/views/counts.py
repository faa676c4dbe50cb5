"""Counts of several targets side by side, exact beside advertised, as plain text."""

from collections.abc import Sequence

from explorer.analyses.ledger import Ledger
from explorer.views import units
from explorer.views.table import PLAIN, Column, Style, render_table

__all__ = ["counts_text"]


def counts_text(ledgers: Sequence[Ledger], width: int, style: Style = PLAIN) -> str:
    """Return one row a target, side by side."""
    rows = [
        (
            ledger.target,
            units.count(ledger.tensors),
            units.count(ledger.parameters),
            _active_cell(ledger),
            _advertised_cell(ledger),
            units.count(ledger.weights),
            units.count(ledger.biases),
            units.count(ledger.buffers),
            units.bits(ledger.bits_per_weight),
            units.size(ledger.nbytes),
            ledger.source,
        )
        for ledger in ledgers
    ]
    columns = (
        Column("target", elastic=True),
        Column("tensors", "right", rank=2),
        Column("parameters", "right"),
        Column("active", "right", rank=3),
        Column("advertised", "right", rank=1),
        Column("weights", "right", rank=4),
        Column("biases", "right", rank=4),
        Column("buffers", "right", rank=6),
        Column("bits/weight", "right", rank=7),
        Column("bytes", "right", rank=5),
        Column("source", rank=8),
    )
    return render_table(columns, rows, width, style)


def _active_cell(ledger: Ledger) -> str:
    """Return the active parameters of a mixture as its publisher counts them; nothing of
    a model that uses all of them."""
    active = ledger.active_parameters
    if active is None or active.with_embedding_and_head == ledger.parameters:
        return ""
    return units.count(getattr(active, active.publisher or "with_embedding_and_head"))


def _advertised_cell(ledger: Ledger) -> str:
    """Return what the publisher says of all parameters and of the active ones."""
    said = ledger.advertised
    return "/".join(filter(None, (said.parameters, said.active))) if said else ""
