"""show: the ledger and the tree of one target."""

from typing import TYPE_CHECKING

import click
import msgspec

from explorer.api import explore
from explorer.cli.console import (
    echo_document,
    echo_json,
    echo_records,
    format_option,
    target_argument,
)
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
    """
    inventory = explore(target, like=like)
    if glob is not None:
        inventory = inventory.select(glob)
    if by is not None:
        _show_groups(inventory, by, depth, form)
    elif form == "text":
        from explorer.views.inventory import inventory_document
        from explorer.views.tree import tensors_table, tree_table

        table = (
            tensors_table(inventory, keys)
            if every or keys
            else tree_table(inventory, depth=depth, sort=sort)
        )
        echo_document(inventory_document(inventory, table))
    else:
        _show_records(inventory, every or keys, form)


def _show_groups(inventory: Inventory, by: "By", depth: int | None, form: str) -> None:
    from explorer.analyses.summary import summarize
    from explorer.views.summary import summary_document

    summary = summarize(inventory, by=by, depth=depth or 1)
    if form == "text":
        echo_document(summary_document(summary))
    elif form == "json":
        echo_json(summary)
    else:
        groups = (*summary.groups, summary.total)
        echo_records([msgspec.structs.asdict(group) for group in groups], form)


def _show_records(inventory: Inventory, every: bool, form: str) -> None:
    from explorer.analyses.collapse import collapse
    from explorer.analyses.ledger import ledger_of
    from explorer.views.exports import tensor_records, tree_records

    records = tensor_records(inventory) if every else tree_records(collapse(inventory))
    if form == "json":
        echo_json({"ledger": ledger_of(inventory), "tensors": records})
    else:
        echo_records(records, form)
