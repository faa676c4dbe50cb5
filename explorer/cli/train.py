"""train: a whole run of a recipe, from nothing or from where it stopped."""

import _thread
import dataclasses
import logging
import os
import signal
import sys
import threading

import click
import msgspec

from explorer.analyses.ledger import ledger_of
from explorer.api import explore
from explorer.cli.console import echo, style, width
from explorer.recipes import RECIPES, settings_of
from explorer.training.loop.stopping import stop_signals
from explorer.views import text

__all__ = ["train"]

# seconds in which a callback returns
_MOMENT = 0.05


def _complete(ctx: click.Context, option: click.Parameter, begun: str) -> list[str]:
    return [name for name in RECIPES if name.startswith(begun)]


def _quieten_libraries() -> None:
    """Keep to one line an error, which is raised: Orbax logs it, its threads print it."""
    logging.getLogger().addHandler(logging.NullHandler())
    sys.unraisablehook = _hear_interrupt


def _hear_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    """Repeat a Ctrl-C that came in a callback, which can raise nothing, a moment later."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(_MOMENT, _interrupt).start()


def _interrupt() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # the same, but it wakes a thread that waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@click.command()
@click.argument("recipe", metavar="RECIPE", shell_complete=_complete)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting."
)
@click.option("--settings", "ask", is_flag=True, help="Print the settings and leave.")
@click.option(
    "--out", type=click.Path(), metavar="FOLDER", help="The run.  [default: runs/RECIPE]"
)
@click.pass_context
def train(
    ctx: click.Context, recipe: str, changes: tuple[str, ...], ask: bool, out: str | None
) -> None:
    """Train a model, watched as it learns: linear, digits or charlm.

    \b
      linear  y = a x + b: one weight and one bias, from noisy points
      digits  a multilayer perceptron that reads handwritten digits
      charlm  a small GPT that learns to write Python

    Stopped by Ctrl-C or SIGTERM, it saves; the same command goes on from there.

    \b
    Examples:
      explorer train linear
      explorer train digits --set width=64 --set seed=1 --out runs/narrow
      explorer train charlm --settings
    """
    received = ctx.with_resource(stop_signals())  # while libraries are loaded, as well
    settings = settings_of(recipe, changes)
    if ask:
        values = msgspec.structs.asdict(settings)
        echo("\n".join(f"{name}={value}" for name, value in values.items()))
        return
    _quieten_libraries()
    from explorer.recipes.running import run
    from explorer.training.loop.progress import LineProgress

    folder = os.path.join("runs", recipe) if out is None else out
    progress = LineProgress()
    if received:
        progress.note(f"{received[0]} came before the run began")
        ctx.exit(128 + signal.Signals[received[0]])
    try:
        done = run(settings, folder, progress)
    except KeyboardInterrupt:  # the second: the first is a wish
        progress.note("explorer: stopped")
        sys.stderr.flush()
        # not by way of Python's end, which crashes while XLA goes on compiling in a thread
        os._exit(128 + signal.SIGINT)
    if done.stopped == "signal":
        progress.note(
            f"{done.reason}; {folder} has it: the same command goes on from there"
        )
        ctx.exit(128 + signal.Signals[done.reason.split()[0]])
    progress.note(f"{done.reason}: {folder} is finished")
    echo("\n".join((*done.lines, "", done.history.table(width=width()), "")))
    learned = dataclasses.replace(explore(done.state.params), target=recipe)
    echo(text.ledger_text(ledger_of(learned), width(), style()))
    echo(f"\nsaved in {folder}: explorer show {folder}; every step: history.jsonl")
