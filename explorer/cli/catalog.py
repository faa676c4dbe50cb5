"""catalog: every architecture that is known by name."""

import click
import msgspec

from explorer.cli.console import echo_document, echo_json, echo_records, format_option

__all__ = ["catalog"]


@click.command()
@format_option
def catalog(form: str) -> None:
    """List the models known by name: exact and advertised counts.

    \b
    Examples:
      explorer catalog
      explorer catalog --format csv
    """
    from explorer.architectures.catalog.entries import entries, undisclosed
    from explorer.views.catalog import catalog_document, catalog_rows

    if form == "json":
        echo_json({"models": entries(), "undisclosed": undisclosed()})
        return
    rows = catalog_rows(entries(), undisclosed())
    if form == "text":
        echo_document(catalog_document(rows))
    else:
        echo_records([msgspec.structs.asdict(row) for row in rows], form)
