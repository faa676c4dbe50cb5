"""catalog: every architecture that is known by name, or those that fit some words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from explorer.cli.completion import catalog_words
from explorer.cli.console import echo_result, format_option
from explorer.document.records import Document
from explorer.errors import InputError

if TYPE_CHECKING:
    from explorer.architectures.catalog.search import Model
    from explorer.views.catalog import CatalogRow

__all__ = ["catalog"]

_SORTS = ("name", "parameters", "active", "file_tensors", "publisher", "family")
_NUMBERS = ("parameters", "active", "file_tensors")


def _families(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[str]:
    from explorer.architectures.catalog.entries import entries

    found = {entry.config["model_type"] for entry in entries()}
    return sorted(name for name in found if name.startswith(incomplete))


@click.command()
@click.argument("words", nargs=-1, metavar="[WORDS]...", shell_complete=catalog_words)
@click.option(
    "--family", metavar="NAME", shell_complete=_families, help="Only this family."
)
@click.option("--sort", type=click.Choice(_SORTS), help="Largest first, or by name.")
@format_option
@click.pass_context
def catalog(
    ctx: click.Context,
    words: tuple[str, ...],
    family: str | None,
    sort: str | None,
    form: str,
) -> None:
    """List the models known by name: exact and advertised counts.

    WORDS are of a name, a publisher or a family, a version or a size, in any spelling:
    models are listed that fit them all.

    \b
    Examples:
      explorer catalog
      explorer catalog llama 8B
      explorer catalog google --sort parameters
      explorer catalog --family qwen3 --format csv
    """
    models = _found(words, family, _families(ctx, ctx.command.params[1], ""))
    from explorer.architectures.catalog.entries import CatalogEntry, UndisclosedModel

    listed = [model for model in models if isinstance(model, CatalogEntry)]
    others = [model for model in models if isinstance(model, UndisclosedModel)]

    def rows() -> "list[CatalogRow]":
        from explorer.views.catalog import catalog_rows

        return _sorted(catalog_rows(listed, others), sort)

    def document() -> Document:
        from explorer.views.catalog import catalog_document

        return catalog_document(rows())

    def value() -> dict[str, Any]:
        if sort is not None:
            order = {row.id: index for index, row in enumerate(rows())}
            listed.sort(key=lambda model: order[model.id])
        return {"models": listed, "undisclosed": others}

    echo_result(form, document=document, records=rows, value=value)


def _found(
    words: tuple[str, ...], family: str | None, families: Sequence[str]
) -> "Sequence[Model]":
    """Return the models that fit the words, of a family."""
    from explorer.architectures.catalog.entries import UndisclosedModel
    from explorer.architectures.catalog.search import search, what_it_has

    if family is not None and family not in families:
        raise InputError(
            f"--family {family}",
            found="the catalogue has no such family",
            expected=f"one of {', '.join(families)}",
        )
    models = search(*words)
    if family is not None:
        models = [
            model
            for model in models
            if not isinstance(model, UndisclosedModel)
            and model.config["model_type"] == family
        ]
    if not models:
        raise InputError(
            " ".join(words),
            found="no model of the catalogue fits",
            expected="words of a name, a publisher or a family, or a size such as 8B",
            cure=what_it_has(" ".join(words)) or "explorer catalog lists every model",
        )
    return models


def _sorted(rows: "list[CatalogRow]", sort: str | None) -> "list[CatalogRow]":
    """Return the rows, the largest first or by name; the catalogue's order for None."""
    if sort is None:
        return rows
    if sort in _NUMBERS:
        return sorted(rows, key=lambda row: -(getattr(row, sort) or 0))
    return sorted(rows, key=lambda row: (getattr(row, sort), row.name))
