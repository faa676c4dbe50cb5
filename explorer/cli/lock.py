"""lock and check: print the structure of a target, and compare a target with it."""

import click

from explorer.api.structure import explore
from explorer.cli.console import echo, path_type, target_argument

__all__ = ["check", "lock"]


@click.command()
@target_argument
def lock(target: str) -> None:
    """Print a readable lock file: every path, shape and dtype.

    \b
    Example:
      explorer lock model/ > params.lock
    """
    from explorer.analyses.lock import lock_text

    echo(lock_text(explore(target)).removesuffix("\n"))


@click.command()
@target_argument
@click.argument("lock_file", metavar="LOCK", type=path_type)
@click.pass_context
def check(ctx: click.Context, target: str, lock_file: str) -> None:
    """Compare a target with a lock file; exit 1 if they differ.

    Every difference is printed, one a line.

    \b
    Example:
      explorer check model/ params.lock
    """
    from explorer.document.text import text_of
    from explorer.testing import compare_with_lock
    from explorer.views.comparison import comparison_document

    comparison = compare_with_lock(explore(target), lock_file)
    # one line for each difference, however long: other programs read them
    echo(text_of(comparison_document(comparison), width=None))
    ctx.exit(0 if comparison.identical else 1)
