"""browse: one target, or two side by side, in a terminal to walk through."""

import sys

import click

from explorer.browsing.themes import ThemeName
from explorer.cli.console import complete_target, path_type
from explorer.cli.terminating import Terminated
from explorer.errors import InputError

__all__ = ["browse"]


@click.command()
@click.argument("target", type=path_type, shell_complete=complete_target)
@click.argument("other", type=path_type, shell_complete=complete_target, required=False)
@click.option(
    "--theme",
    type=click.Choice(["dark", "light"]),
    default="dark",
    show_default=True,
    help="The ground of the screen; t changes it.",
)
@click.pass_context
def browse(ctx: click.Context, target: str, other: str | None, theme: ThemeName) -> None:
    """Walk through a target in the terminal: open, search, sort, filter, look at values.

    The rows are those of `show`; of two targets, those of `compare`. Keys are named below
    them, and ? explains them. Values are read when you ask for their statistics.

    \b
    Examples:
      explorer browse model.safetensors
      explorer browse llama-3.1-8b
      explorer browse gpt2 gpt2-medium
      explorer browse gpt2 --theme light
    """
    from explorer.browsing.subject import browsed

    subjects = [browsed(name) for name in (target, other) if name is not None]
    # keys come from standard input, and textual draws on standard error
    if not all(
        each is not None and each.isatty() for each in (sys.stdin, sys.stdout, sys.stderr)
    ):
        instead = f"compare {target} {other}" if other is not None else f"show {target}"
        found, cure = (
            "needs a terminal, which this is not",
            f"print it with: explorer {instead}",
        )
        raise InputError("browse", found=found, cure=cure)
    from explorer.browsing.app import BrowserApp
    from explorer.browsing.terminating import TERMINATED

    app = BrowserApp(subjects, theme)
    app.run()
    if app.return_code == TERMINATED:
        raise Terminated
    ctx.exit(app.return_code or 0)
