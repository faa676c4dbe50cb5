"""A recipe run in its folder: from nothing, or from where it stopped."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import msgspec

from explorer.errors import InputError
from explorer.training.checkpoints import Checkpoints
from explorer.training.data import Batches
from explorer.training.history import History, read_jsonl
from explorer.training.loop import FitResult, Stopped, fit
from explorer.training.progress import Progress
from explorer.training.recipes.recipe import Settings
from explorer.training.state import State, create_state
from explorer.training.step import make_train_step
from explorer.training.watch import Watch
from explorer.training.writers import JsonlWriter

__all__ = ["Finished", "run"]

_KEPT = 2


class Finished(NamedTuple):
    """How a run ended, as of `FitResult`, and the lines of its result if it is whole."""

    stopped: Stopped
    reason: str
    lines: tuple[str, ...]
    state: State
    history: History


def run(
    settings: Settings, folder: str | os.PathLike, progress: Progress | None = None
) -> Finished:
    """Train what settings describe, in a folder of its own.

    Where the folder has a part of the same run, that is gone on with, to the same numbers
    as without the stop.

    Args:
        settings: of a recipe.
        folder: made where there is none.
        progress: is told how it goes.

    Raises:
        InputError: the folder is another run's or cannot be written to, the data is not
            there, or the loss is no number any more.
    """
    parts = settings.parts()
    config = {
        "recipe": settings.NAME,
        "settings": msgspec.to_builtins(settings),
        "data": parts.facts,
    }
    every = settings.save_every
    with Checkpoints(folder, every=every, keep=_KEPT, config=config) as checkpoints:
        watch = Watch(every=settings.watch_every)
        state = create_state(
            parts.module,
            parts.optimizer,
            jax.random.key(settings.seed),
            *parts.inputs,
            watch=watch,
        )
        state = _restored(checkpoints, state, parts.batches, progress)
        rows, document = watch.rows(state.params), Path(folder) / "history.jsonl"
        with JsonlWriter(document, rows, watch.COLUMNS, settings.NAME) as writer:
            result = fit(
                state,
                make_train_step(parts.loss_fn, parts.optimizer, watch=watch),
                parts.batches,
                steps=settings.steps,
                evaluate=parts.evaluate,
                eval_every=settings.eval_every,
                checkpoints=checkpoints,
                history=History(rows, run=settings.NAME, writers=[writer]),
                progress=progress,
                tokens_per_batch=parts.tokens,
                watch_every=watch.every,
            )
    _check_finite(result, folder)
    lines = parts.conclude(result.state) if result.stopped == "steps" else ()
    history = read_jsonl(document)
    return Finished(result.stopped, result.reason, lines, result.state, history)


def _restored(
    checkpoints: Checkpoints, state: State, batches: Batches, progress: Progress | None
) -> State:
    """Return the state to go on from, and put the batches where they were."""
    saved = checkpoints.restore(state)
    if saved is None:
        return state
    batches.restore(saved.data)
    if progress is not None:
        for remark in (*saved.remarks, f"step {saved.step:,} is restored"):
            progress.note(remark)
    return saved.state


def _check_finite(result: FitResult, folder: str | os.PathLike) -> None:
    if result.stopped == "not finite":
        raise InputError(
            folder,
            found=result.reason,
            expected="finite numbers",
            cure="train into another folder with a smaller learning_rate",
        )
