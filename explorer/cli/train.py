"""train: a complete run of a recipe, from the beginning or from where it stopped."""

import _thread
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click
import msgspec

from explorer.analyses.ledger import ledger_of
from explorer.api.structure import explore
from explorer.cli.completion import complete_recipe, complete_setting
from explorer.cli.console import echo, echo_document, width
from explorer.cli.terminating import Terminated
from explorer.errors import InputError, MissingPackageError
from explorer.recipes import settings_of
from explorer.training.loop.stopping import stop_signals
from explorer.views.learned import learned_document
from explorer.views.ledger import ledger_document

if TYPE_CHECKING:
    from explorer.training.logging.history import History

__all__ = ["train"]

_CURVES = "curves.png"

_CALLBACK_SECONDS = 0.05  # in which a callback returns


def _silence_libraries() -> None:
    """Silence what Orbax logs, and its threads print, of an error that is also raised."""
    logging.getLogger().addHandler(logging.NullHandler())
    sys.unraisablehook = _repeat_interrupt


def _repeat_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise a Ctrl-C again that came in a callback, where an exception is lost."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(_CALLBACK_SECONDS, _interrupt).start()


def _interrupt() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # unlike interrupt_main, it wakes a thread that waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@click.command()
@click.argument("recipe", metavar="RECIPE", shell_complete=complete_recipe)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_setting,
    help="Change a setting.",
)
@click.option(
    "--settings", "only_settings", is_flag=True, help="Print the settings and exit."
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="FOLDER",
    help="Folder of the run.  [default: runs/RECIPE]",
)
@click.option(
    "--plot", "picture", metavar="FILE.png", help="Draw its curves: .png, .svg or .pdf."
)
@click.pass_context
def train(
    ctx: click.Context,
    recipe: str,
    changes: tuple[str, ...],
    only_settings: bool,
    out: str | None,
    picture: str | None,
) -> None:
    """Train and record a model: linear, digits, charlm, or lora, adapters of a pretrained one.

    \b
      linear  y = a x + b: one weight and one bias, from noisy points
      digits  a multilayer perceptron that reads handwritten digits
      charlm  a small GPT that learns to write Python
      lora    adapters of a pretrained model: --set base=FOLDER

    Stopped by Ctrl-C or SIGTERM, it saves its state; the same command resumes from there.

    \b
    Examples:
      explorer train linear
      explorer train digits --set width=64 --set seed=1 --out runs/narrow
      explorer train digits --plot digits.png
      explorer train charlm --settings
      explorer train lora --set base=model/ --set rank=8
    """
    received = ctx.with_resource(stop_signals())  # also while libraries are loaded
    settings = settings_of(recipe, changes)
    if only_settings:
        values = msgspec.structs.asdict(settings)
        echo("\n".join(f"{name}={value}" for name, value in values.items()))
        return
    if picture is not None:
        _check_picture(picture)
    _silence_libraries()
    from explorer.recipes.running import run
    from explorer.training.loop.progress import LineProgress

    folder = os.path.join("runs", recipe) if out is None else out
    progress = LineProgress()
    if received:
        progress.note(f"{received[0]} came before the first step")
        ctx.exit(128 + signal.Signals[received[0]])
    try:
        done = run(settings, folder, progress)
    except KeyboardInterrupt as error:  # the second one: the first lets the step finish
        progress.note("explorer: stopped")
        sys.stderr.flush()
        # a regular exit crashes while a thread of XLA's is still compiling
        os._exit(128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT))
    if done.stopped == "signal":
        progress.note(f"{done.reason}; saved in {folder}: the same command resumes there")
        ctx.exit(128 + signal.Signals[done.reason.split()[0]])
    progress.note(f"{done.reason}: {folder} is finished")
    if done.spent.first_step:
        progress.note(f"time: {done.spent}")
    echo("\n".join((*done.lines, "", done.history.table(width=width()), "")))
    if done.history.learned is not None:
        echo_document(learned_document(done.history.learned))
        echo("")
    # what a train state holds as params is learned, whatever its names
    learned = msgspec.structs.replace(
        explore(done.state.params), target=recipe, parameters_by="source"
    )
    echo_document(ledger_document(ledger_of(learned)))
    curves = _save_curves(done.history, folder, picture)
    echo(
        f"\nsaved in {folder}: explorer show {folder}; every step: history.jsonl; "
        f"changes: learned.json; curves: {curves}"
    )


def _check_picture(picture: str) -> None:
    """Refuse, before anything is trained, a picture that could not be drawn or saved."""
    from explorer.document.figures import check_picture
    from explorer.training.logging.plots import MARK

    check_picture(picture, MARK)


def _save_curves(history: "History", folder: str, picture: str | None) -> str:
    """Draw the curves beside the run, and where else they are wanted; return where they are."""
    if picture is not None:
        history.plot(picture)
    try:
        history.plot(os.path.join(folder, _CURVES))
    except MissingPackageError as error:
        return f"not drawn, {error.cure}"
    except (
        InputError
    ) as error:  # the run is finished, whatever is in the way of its picture
        return f"not drawn, {error}"
    return _CURVES if picture is None else f"{_CURVES}, {picture}"
