"""Ledgers of several targets side by side, exact beside advertised counts."""

from collections.abc import Sequence

from msgspec.structs import replace

from explorer.analyses.ledger import Ledger
from explorer.document.records import Column, Document, Table
from explorer.views import units

__all__ = ["counts_document"]

_KNOWN = Column("known")  # never left out for want of width: it marks what is not exact
_BIASES = Column("biases", "right", rank=5)
_COLUMNS = (
    Column("target", least=24),
    Column("tensors", "right", rank=4),
    Column("parameters", "right"),
    _KNOWN,
    Column("active", "right", rank=2),
    Column("advertised", "right", rank=3),
    Column("weights", "right", rank=5),
    _BIASES,
    Column("buffers", "right", rank=7),
    Column("bits/weight", "right", rank=2),
    Column("bytes", "right", rank=1),
    Column("published file", "right", rank=6),
    Column("source", rank=8),
)


def counts_document(ledgers: Sequence[Ledger]) -> Document:
    """Return one row for each target."""
    rows = [
        (
            ledger.target,
            ledger.tensors,
            ledger.parameters,
            _mark(ledger),
            _active(ledger),
            _advertised(ledger),
            ledger.weights,
            ledger.biases,
            ledger.buffers,
            units.bits(ledger.bits_per_weight),
            units.size(ledger.nbytes),
            _published(ledger),
            ledger.source,
        )
        for ledger in ledgers
    ]
    columns = _COLUMNS
    if not any(ledger.biases for ledger in ledgers):  # 0 throughout: left out first
        columns = tuple(replace(c, rank=9) if c is _BIASES else c for c in columns)
    if not any(map(_mark, ledgers)):
        at = columns.index(_KNOWN)
        columns = columns[:at] + columns[at + 1 :]
        rows = [row[:at] + row[at + 1 :] for row in rows]
    memory = _memory([each for each in ledgers if each.parameters])
    return Document(blocks=(Table(columns, rows).without_empty_columns(), *memory))


def _memory(ledgers: Sequence[Ledger]) -> list[Table]:
    """Return what the parameters of each take at numbers of bits."""
    if not ledgers:
        return []
    widths = [*ledgers[0].bytes_at]
    titles = [f"{width} bits" for width in widths]
    columns = (Column("in memory", least=24), *(Column(title, "right") for title in titles))
    rows = [
        (each.target, *(units.size(each.bytes_at[width]) for width in widths))
        for each in ledgers
    ]
    return [Table(columns, rows)]


def _mark(ledger: Ledger) -> str | None:
    """Return "inferred" or "assumed"; None for a count that is exact."""
    word = ledger.provenance["parameters"].partition(" ")[0]
    return None if word == "exact" else word


def _active(ledger: Ledger) -> int | None:
    """Return the active parameters of a mixture of experts as its publisher counts them;
    None for a model that uses all of its parameters."""
    active = ledger.active_parameters
    if active is None or active.with_embedding_and_head == ledger.parameters:
        return None
    return getattr(active, active.publisher or "with_embedding_and_head")


def _published(ledger: Ledger) -> str:
    """Return the size of a published file of quantised weights."""
    claims = ledger.advertised
    if claims is None or claims.file_bytes is None:
        return ""
    return units.size(claims.file_bytes)


def _advertised(ledger: Ledger) -> str:
    """Return the publisher's figures for all parameters and for the active ones."""
    claims = ledger.advertised
    return "/".join(filter(None, (claims.parameters, claims.active))) if claims else ""
