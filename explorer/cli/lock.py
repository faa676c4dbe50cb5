"""lock and check: print the structure or the values of a target, and compare a target with it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from explorer.api.structure import explore
from explorer.cli.console import (
    echo,
    echo_result,
    format_option,
    path_type,
    target_argument,
)

if TYPE_CHECKING:
    from explorer.values.digest import Algorithm

__all__ = ["check", "lock"]


@click.command()
@target_argument
@click.option("--values", is_flag=True, help="Lock the numbers: a hash of each tensor.")
@click.option(
    "--hash",
    "algorithm",
    type=click.Choice(["xxh3_128", "blake2b"]),
    default="xxh3_128",
    show_default=True,
    help="With --values; nobody can make other content of the same blake2b.",
)
@format_option
def lock(target: str, values: bool, algorithm: "Algorithm", form: str) -> None:
    """Print a readable lock file: every path, shape and dtype; with --values, hashes too.

    `explorer check` reads the text. The other forms are for other programs.

    \b
    Examples:
      explorer lock model/ > params.lock
      explorer lock model/ --values > values.lock
      explorer lock model/ --json
    """
    if values:
        from explorer.api.values import digest
        from explorer.values.digest import value_lock_text

        found = digest(target, algorithm=algorithm)
        _print(form, lambda: value_lock_text(found), lambda: found.to_dict()["tensors"])
        for note in found.notes:
            click.echo(f"explorer: {note}", err=True)
        return
    from explorer.analyses.lock import lock_records, lock_text

    inventory = explore(target)
    _print(
        form,
        lambda: lock_text(inventory).removesuffix("\n"),
        lambda: lock_records(inventory),
    )


def _print(
    form: str, text: Callable[[], str], records: Callable[[], list[dict[str, Any]]]
) -> None:
    """Print a lock: lines that other programs read, however long, or its records."""
    if form == "text":
        echo(text())
        return
    from explorer.views.exports import records_document

    echo_result(form, document=lambda: records_document(records()), records=records)


@click.command()
@target_argument
@click.argument("lock_file", metavar="LOCK", type=path_type)
@format_option
@click.pass_context
def check(ctx: click.Context, target: str, lock_file: str, form: str) -> None:
    """Compare a target with a lock file; exit 1 if they differ.

    What is compared is what was locked: the structure, or the values of each tensor. Every
    difference is printed, one a line.

    \b
    Examples:
      explorer check model/ params.lock
      explorer check model/ values.lock
      explorer check model/ params.lock --json
    """
    from explorer.testing import compare_with_lock, differences_text

    comparison = compare_with_lock(target, lock_file)
    if form == "text":
        # one line for each difference, however long: other programs read them
        echo(differences_text(comparison))
    else:
        from explorer.views import locks

        echo_result(
            form,
            document=lambda: locks.differences_document(comparison),
            records=lambda: locks.differences_records(comparison),
            value=lambda: locks.differences_value(comparison, target, lock_file),
            fields=locks.differences_fields(comparison),
        )
    ctx.exit(0 if comparison.identical else 1)
