"""The catalogue of architectures as a document: exact beside advertised counts."""

from collections.abc import Iterable, Sequence

import msgspec

from explorer.architectures.catalog.entries import (
    CONVENTIONS,
    CatalogEntry,
    UndisclosedModel,
)
from explorer.document.records import Column, Document, Paragraph, Table

__all__ = ["CatalogRow", "catalog_document", "catalog_rows"]

_LEGEND = (
    "active: what one token passes through in a mixture of experts, counted as its "
    "publisher does (some leave the embedding out). advertised: the publisher's figures, for "
    "all and for active parameters. tensors: of the published files, derived from the "
    "architecture where no header was available."
)
_COLUMNS = (
    Column("name", least=24),
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


def catalog_rows(
    entries: Iterable[CatalogEntry], undisclosed: Iterable[UndisclosedModel]
) -> list[CatalogRow]:
    """Return a row for each model: those with counts first."""
    return [*map(_row, entries), *map(_undisclosed_row, undisclosed)]


def catalog_document(rows: Sequence[CatalogRow]) -> Document:
    """Return the table of exact counts, and below it that of the models without counts.

    Args:
        rows: in the order to be shown.
    """
    counted = [_cells(row) for row in rows if row.parameters is not None]
    others = [_undisclosed_cells(row) for row in rows if row.parameters is None]
    blocks = []
    if counted:
        blocks += [Table(_COLUMNS, counted).without_empty_columns(), Paragraph(_LEGEND)]
    if others:
        blocks.append(Table(_UNDISCLOSED_COLUMNS, others).without_empty_columns())
    return Document(blocks=tuple(blocks))


def _row(entry: CatalogEntry) -> CatalogRow:
    active = entry.active or {}
    return CatalogRow(
        name=entry.names[0],
        parameters=entry.parameters,
        advertised=entry.advertised,
        active=active.get(entry.publisher_convention or CONVENTIONS[0]),
        advertised_active=entry.advertised_active,
        tensors=entry.tensors,
        family=entry.config["model_type"],
        id=entry.id,
        publisher=entry.id.partition("/")[0],
    )


def _undisclosed_row(model: UndisclosedModel) -> CatalogRow:
    return CatalogRow(
        name=model.names[0],
        parameters=None,
        publisher=model.publisher,
        estimate=model.estimate,
    )


def _cells(row: CatalogRow) -> tuple[str | int | None, ...]:
    advertised = "/".join(filter(None, (row.advertised, row.advertised_active)))
    return (row.name, row.parameters, row.active, advertised, row.tensors, row.family)


def _undisclosed_cells(row: CatalogRow) -> tuple[str, ...]:
    return (row.name, row.publisher, "undisclosed", row.estimate or "none with a source")
