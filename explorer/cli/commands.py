"""show, count, roles, lock, check: each parses, calls and prints.

What one command alone needs is imported when it runs: a start counts in milliseconds.
"""

import click
import msgspec

from explorer.analyses.ledger import ledger_of
from explorer.api import explore
from explorer.cli.console import echo, format_option, style, width
from explorer.errors import InputError
from explorer.inventory.inventory import Inventory
from explorer.views import text

__all__ = ["COMMANDS"]

_GROUPS = ["role", "component", "module", "dtype", "collection"]
_SORTS = ["parameters", "nbytes", "tensors", "name"]

# completed as a path; whether it can be read is for its reader to say
_PATH = click.Path(readable=False)
_target = click.argument("target", type=_PATH)


@click.command()
@_target
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
@click.option("--all", "every", is_flag=True, help="Every tensor, no repeats folded.")
@format_option
def show(
    target: str,
    by: str | None,
    depth: int | None,
    glob: str | None,
    sort: str | None,
    every: bool,
    form: str,
) -> None:
    """Print a target's ledger and tree.

    \b
    Examples:
      explorer show model.safetensors
      explorer show model/ --by component
      explorer show model.gguf --select "**/attn_*" --all
      explorer show checkpoint.pt --depth 2 --sort parameters
    """
    inventory = explore(target)
    if glob is not None:
        inventory = inventory.select(glob)
        if not inventory.tensors:
            raise InputError(target, found=f"no tensor matches {glob!r}", expected="a glob")
    if by is not None:
        _show_groups(inventory, by, depth, form)
    elif form == "text":
        from explorer.views import tree

        echo(text.ledger_text(ledger_of(inventory), width(), style()) + "\n")
        if every:
            echo(tree.tensors_text(inventory, width(), style()))
        else:
            echo(tree.tree_text(inventory, width(), style(), depth=depth, sort=sort))
    else:
        from explorer.analyses.collapse import collapse
        from explorer.views.formats import rows_of, tensor_records

        records = tensor_records(inventory) if every else rows_of(collapse(inventory))
        both = {"ledger": ledger_of(inventory), "tensors": records}
        echo(_records(records, form, json=both))


def _show_groups(inventory: Inventory, by: str, depth: int | None, form: str) -> None:
    from explorer.analyses.summary import summarize

    summary = summarize(inventory, by=by, depth=depth or 1)  # pyright: ignore
    if form == "text":
        echo(text.summary_text(summary, width(), style()))
    else:
        groups = [_fields(group) for group in (*summary.groups, summary.total)]
        echo(_records(groups, form, json=summary))


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@format_option
def count(targets: tuple[str, ...], form: str) -> None:
    """Print one row of counts for each target, side by side.

    \b
    Examples:
      explorer count model.safetensors
      explorer count a.gguf b/ c.pt
      explorer count model/ --format json
    """
    ledgers = [ledger_of(explore(target)) for target in targets]
    if form == "text":
        from explorer.views.counts import counts_text

        echo(counts_text(ledgers, width(), style()))
    else:
        echo(_records([_fields(ledger) for ledger in ledgers], form, json=ledgers))


@click.command()
@_target
@click.option("--length", type=click.IntRange(1), help="Tokens of the sequence.")
@format_option
def roles(target: str, length: int | None, form: str) -> None:
    """Print what each parameter does in the forward pass, and its work.

    \b
    Examples:
      explorer roles deepseek-v3
      explorer roles path/to/config.json --length 1024
      explorer roles my_package.models:make_model
    """
    from explorer.role_reports import report_roles
    from explorer.views.roles import roles_text

    report = report_roles(target, length=length)
    if form == "text":
        echo(roles_text(report, width(), style()))
    else:
        echo(_records([_fields(row) for row in report.rows], form, json=report))


@click.command()
@_target
def lock(target: str) -> None:
    """Print a readable lock of paths, shapes and number formats.

    \b
    Example:
      explorer lock model/ > params.lock
    """
    from explorer.analyses.lock import lock_text

    echo(lock_text(explore(target)).removesuffix("\n"))


@click.command()
@_target
@click.argument("lock_file", metavar="LOCK", type=_PATH)
@click.pass_context
def check(ctx: click.Context, target: str, lock_file: str) -> None:
    """Compare a target with a lock; exit 1 and list every difference if they differ.

    \b
    Example:
      explorer check model/ params.lock
    """
    from explorer.testing import compare_with_lock
    from explorer.views.changes import comparison_text

    comparison = compare_with_lock(explore(target), lock_file)
    echo(comparison_text(comparison))
    ctx.exit(0 if comparison.identical else 1)


def _fields(record: object) -> dict:
    return msgspec.structs.asdict(record)  # pyright: ignore[reportArgumentType]


def _records(records: list[dict], form: str, json: object) -> str:
    from explorer.views.formats import csv_table, json_text, markdown_table

    if form == "json":
        return json_text(json)
    return csv_table(records) if form == "csv" else markdown_table(records)


COMMANDS = (show, count, roles, lock, check)
