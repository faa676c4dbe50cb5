"""The catalogue as plain text: exact and advertised counts side by side."""

import textwrap
from collections.abc import Sequence

import msgspec

from explorer.views import units
from explorer.views.table import PLAIN, Column, Style, render_table

__all__ = ["CatalogRow", "catalog_text"]

_LEGEND = (
    "active: what one token passes through in a mixture of experts, counted as its "
    "publisher does (some leave the embedding out). advertised: the publisher's figures, for "
    "all and for active parameters. tensors: of the published files, derived from the "
    "architecture where no header was at hand."
)
_COLUMNS = (
    Column("name", elastic=True),
    Column("parameters", "right"),
    Column("active", "right", rank=1),
    Column("advertised", "right"),
    Column("tensors", "right", rank=2),
    Column("family", rank=3),
)
_UNDISCLOSED_COLUMNS = (
    Column("name"),
    Column("publisher", rank=1),
    Column("parameters"),
    Column("what others estimate"),
)


class CatalogRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the catalogue; `parameters` is None where they are undisclosed."""

    name: str
    parameters: int | None
    advertised: str = ""
    active: int | None = None
    advertised_active: str = ""
    tensors: int | None = None
    family: str = ""
    id: str = ""
    publisher: str = ""
    estimate: str = ""


def catalog_text(rows: Sequence[CatalogRow], width: int, style: Style = PLAIN) -> str:
    """Return the table of exact counts and that of the models without counts.

    Args:
        rows: in the order to be shown; one without parameters goes below.
        width: cells of a line.
        style: escapes for title lines.
    """
    counted = [row for row in rows if row.parameters is not None]
    closed = [row for row in rows if row.parameters is None]
    parts = []
    if counted:
        parts.append(render_table(_COLUMNS, list(map(_cells, counted)), width, style))
        parts.append(textwrap.fill(_LEGEND, width, break_on_hyphens=False))
    if closed:
        cells = [_undisclosed_cells(row) for row in closed]
        parts.append(render_table(_UNDISCLOSED_COLUMNS, cells, width, style))
    return "\n\n".join(parts)


def _cells(row: CatalogRow) -> tuple[str, ...]:
    return (
        row.name,
        _count(row.parameters),
        _count(row.active),
        "/".join(filter(None, (row.advertised, row.advertised_active))),
        _count(row.tensors),
        row.family,
    )


def _undisclosed_cells(row: CatalogRow) -> tuple[str, ...]:
    return (row.name, row.publisher, "undisclosed", row.estimate or "none with a source")


def _count(number: int | None) -> str:
    return "" if number is None else units.count(number)
