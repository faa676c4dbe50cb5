"""lock and check: print the structure or the values of a target, and compare a target with it."""

from typing import TYPE_CHECKING

import click

from explorer.api.structure import explore
from explorer.cli.console import echo, path_type, target_argument

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
def lock(target: str, values: bool, algorithm: "Algorithm") -> None:
    """Print a readable lock file: every path, shape and dtype; with --values, hashes too.

    \b
    Examples:
      explorer lock model/ > params.lock
      explorer lock model/ --values > values.lock
    """
    if values:
        from explorer.api.values import digest
        from explorer.values.digest import value_lock_text

        found = digest(target, algorithm=algorithm)
        echo(value_lock_text(found))
        for note in found.notes:
            click.echo(f"explorer: {note}", err=True)
        return
    from explorer.analyses.lock import lock_text

    echo(lock_text(explore(target)).removesuffix("\n"))


@click.command()
@target_argument
@click.argument("lock_file", metavar="LOCK", type=path_type)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print.",
)
@click.pass_context
def check(ctx: click.Context, target: str, lock_file: str, form: str) -> None:
    """Compare a target with a lock file; exit 1 if they differ.

    What is compared is what was locked: the structure, or the values of each tensor. Every
    difference is printed, one a line.

    \b
    Examples:
      explorer check model/ params.lock
      explorer check model/ values.lock
      explorer check model/ params.lock --format json
    """
    from explorer.testing import compare_with_lock, differences_text

    comparison = compare_with_lock(target, lock_file)
    if form == "json":
        from explorer.views.exports import json_text

        echo(json_text({"identical": comparison.identical, **comparison.to_dict()}))
    else:
        # one line for each difference, however long: other programs read them
        echo(differences_text(comparison))
    ctx.exit(0 if comparison.identical else 1)
