"""catalog: every architecture that is known by name."""

import click
import msgspec

from explorer.architectures.catalog.entries import (
    CONVENTIONS,
    Entry,
    Undisclosed,
    entries,
    undisclosed,
)
from explorer.cli.console import echo, format_option, style, width
from explorer.views.catalog import CatalogRow, catalog_text
from explorer.views.formats import csv_table, json_text, markdown_table

__all__ = ["catalog"]


@click.command()
@format_option
def catalog(form: str) -> None:
    """List the models that are known by name, exact beside advertised counts.

    \b
    Examples:
      explorer catalog
      explorer catalog --format csv
    """
    if form == "json":
        echo(json_text({"models": entries(), "undisclosed": undisclosed()}))
        return
    rows = [*map(_row, entries()), *map(_undisclosed_row, undisclosed())]
    if form == "text":
        echo(catalog_text(rows, width(), style()))
    else:
        records = [msgspec.structs.asdict(row) for row in rows]
        echo(csv_table(records) if form == "csv" else markdown_table(records))


def _row(entry: Entry) -> CatalogRow:
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


def _undisclosed_row(model: Undisclosed) -> CatalogRow:
    return CatalogRow(
        name=model.names[0],
        parameters=None,
        publisher=model.publisher,
        estimate=model.estimate,
    )
