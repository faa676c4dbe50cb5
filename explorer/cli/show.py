"""show: the ledger and the tree of one target."""

from typing import TYPE_CHECKING, Any

import click

from explorer.analyses.widths import widths_of
from explorer.api.structure import explore
from explorer.cli.console import echo_result, format_option, target_argument, widths_options
from explorer.document.records import Document
from explorer.inventory.inventory import Inventory

if TYPE_CHECKING:
    from explorer.analyses.summary import By

__all__ = ["show"]

_GROUPS = ["role", "component", "module", "dtype", "collection"]
_SORTS = ["parameters", "nbytes", "tensors", "name"]


@click.command()
@target_argument
@click.option(
    "--by", type=click.Choice(_GROUPS), help="Print totals by group, not the tree."
)
@click.option(
    "--depth", type=click.IntRange(1), help="Levels of the tree, or of --by module."
)
@click.option(
    "--select", "glob", metavar="GLOB", help='Only these tensors: "**/attention/**".'
)
@click.option("--sort", type=click.Choice(_SORTS), help="Largest first, or by name.")
@click.option(
    "--like",
    metavar="MODEL",
    help="Read which tensors are parameters from a model: package.module:attribute, a name.",
)
@click.option("--all", "every", is_flag=True, help="Every tensor, nothing folded.")
@click.option("--keys", is_flag=True, help="Every tensor, by the name in its source.")
@click.option("--plot", "picture", metavar="FILE.png", help="Draw it: .png, .svg or .pdf.")
@widths_options
@format_option
def show(
    target: str,
    by: "By | None",
    depth: int | None,
    glob: str | None,
    sort: str | None,
    like: str | None,
    every: bool,
    keys: bool,
    picture: str | None,
    bits: float | None,
    dtype: str | None,
    form: str,
) -> None:
    """Print a target's ledger and tree.

    \b
    Examples:
      explorer show model.safetensors
      explorer show model/ --by component
      explorer show model.gguf --select "**/attn_*" --all
      explorer show state.msgpack --like my_project.model:abstract_model
      explorer show checkpoint.pt --depth 2 --sort parameters
      explorer show llama-3.1-8b --plot llama.png
    """
    widths = widths_of(bits, dtype)
    inventory = explore(target, like=like)
    if glob is not None:
        inventory = inventory.select(glob)
    if picture is not None:
        from explorer.views.tree_plot import plot_tree

        plot_tree(inventory, picture)
    if by is not None:
        _show_groups(inventory, by, depth, form)
    else:
        _show_tensors(inventory, widths, every, keys, depth, sort, form)


def _show_groups(inventory: Inventory, by: "By", depth: int | None, form: str) -> None:
    from explorer.analyses.summary import summarize
    from explorer.views.summary import summary_document

    summary = summarize(inventory, by=by, depth=depth or 1)
    echo_result(
        form,
        document=lambda: summary_document(summary),
        records=lambda: (*summary.groups, summary.total),
        value=lambda: summary,
    )


def _show_tensors(
    inventory: Inventory,
    widths: tuple[str, ...],
    every: bool,
    keys: bool,
    depth: int | None,
    sort: str | None,
    form: str,
) -> None:
    from explorer.analyses.collapse import collapse
    from explorer.analyses.ledger import ledger_of
    from explorer.views.exports import tensor_records, tree_records

    def document() -> Document:
        from explorer.views.inventory import inventory_document
        from explorer.views.tree import tensors_table, tree_table

        if every or keys:
            return inventory_document(inventory, tensors_table(inventory, keys), widths)
        return inventory_document(
            inventory, tree_table(inventory, depth=depth, sort=sort), widths
        )

    def records() -> list[dict[str, Any]]:
        if every or keys:
            return tensor_records(inventory)
        return tree_records(collapse(inventory))

    echo_result(
        form,
        document=document,
        records=records,
        value=lambda: {"ledger": ledger_of(inventory, widths), "tensors": records()},
    )
