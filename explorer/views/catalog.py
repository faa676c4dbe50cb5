"""The catalogue of architectures as a document: exact beside advertised counts."""

from collections.abc import Iterable, Sequence

import msgspec

from explorer.architectures.catalog.entries import (
    CONVENTIONS,
    CatalogEntry,
    UndisclosedModel,
)
from explorer.architectures.families import architecture_of
from explorer.architectures.tensor_counts import TensorCounts, tensor_counts
from explorer.document.records import Column, Document, Paragraph, Table

__all__ = ["CatalogRow", "catalog_document", "catalog_rows"]

_FEW = 10
_LEGEND = (
    "active: what one token passes through in a mixture of experts, counted as its "
    "publisher does (some leave the embedding out). advertised: the publisher's figures, for "
    "all and for active parameters. file tensors = checkpoint tensors + buffers + scales + "
    "others (second names, extra layers), derived from the architecture where no header was "
    "available. module leaves: arrays of the Flax module, which stacks experts."
)
_COLUMNS = (
    Column("name", least=24),
    Column("parameters", "right"),
    Column("active", "right", rank=1),
    Column("advertised", "right"),
    Column("publisher", rank=2),
    Column("file tensors", "right", rank=3),
    Column("family", rank=4),
    Column("checkpoint tensors", "right", rank=5),
    Column("module leaves", "right", rank=6),
    Column("buffers", "right", rank=7),
    Column("scales", "right", rank=8),
    Column("others", "right", rank=9),
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
    file_tensors: int | None = None
    checkpoint_tensors: int | None = None
    buffers: int | None = None
    scales: int | None = None
    second_names: int | None = None
    extra_layers: int | None = None
    file_bytes: int | None = None
    file_format: str = ""
    module_leaves: int | None = None
    publisher: str = ""
    family: str = ""
    id: str = ""
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
        blocks += [Table(_COLUMNS, counted).without_empty_columns(), *_sums(rows)]
        blocks.append(Paragraph(_LEGEND))
    if others:
        blocks.append(Table(_UNDISCLOSED_COLUMNS, others).without_empty_columns())
    return Document(blocks=tuple(blocks))


def _sums(rows: Sequence[CatalogRow]) -> list[Paragraph]:
    """Return the sum of each file's tensors, of a few models, where it has several terms."""
    if len(rows) > _FEW:
        return []
    return [
        Paragraph(f"{row.name}: {counts.sum}")
        for row in rows
        if (counts := _counts(row)) and counts.file_tensors != counts.checkpoint_tensors
    ]


def _counts(row: CatalogRow) -> TensorCounts | None:
    if row.file_tensors is None or row.checkpoint_tensors is None:
        return None
    return TensorCounts(
        module_leaves=row.module_leaves or 0,
        checkpoint_tensors=row.checkpoint_tensors,
        buffers=row.buffers or 0,
        scales=row.scales or 0,
        second_names=row.second_names or 0,
        extra_layers=row.extra_layers or 0,
        file_tensors=row.file_tensors,
    )


def _row(entry: CatalogEntry) -> CatalogRow:
    active = entry.active or {}
    counts = tensor_counts(architecture_of(entry.config), entry.tensors, **entry.beside)
    # the difference of two counts is known where both are
    between = counts if entry.tensors is not None else None
    return CatalogRow(
        name=entry.names[0],
        parameters=entry.parameters,
        advertised=entry.advertised,
        active=active.get(entry.publisher_convention or CONVENTIONS[0]),
        advertised_active=entry.advertised_active,
        file_tensors=entry.tensors,
        checkpoint_tensors=counts.checkpoint_tensors,
        buffers=between and between.buffers,
        scales=between and between.scales,
        second_names=between and between.second_names,
        extra_layers=between and between.extra_layers,
        file_bytes=entry.file_bytes,
        file_format=entry.file_format,
        module_leaves=counts.module_leaves,
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
    others = (row.second_names or 0) + (row.extra_layers or 0)
    return (
        row.name,
        row.parameters,
        row.active,
        advertised,
        row.publisher,
        row.file_tensors,
        row.family,
        row.checkpoint_tensors,
        row.module_leaves,
        row.buffers or None,
        row.scales or None,
        others or None,
    )


def _undisclosed_cells(row: CatalogRow) -> tuple[str, ...]:
    return (row.name, row.publisher, "undisclosed", row.estimate or "none with a source")
