"""A recipe run in its folder: from the start, or resumed from where it stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import msgspec
from jax.errors import JaxRuntimeError

from explorer.document.words import counted
from explorer.errors import InputError, first_line
from explorer.recipes.recipe import Parts, Settings
from explorer.recipes.six_steps import SixSteps
from explorer.storage.local import exists
from explorer.targets import resolve
from explorer.targets.values import values_of
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.data.batches import Batches
from explorer.training.logging.history import History, read_jsonl
from explorer.training.logging.jsonl import JsonlWriter
from explorer.training.loop.fit import FitResult, Stopped, fit
from explorer.training.loop.progress import Progress
from explorer.training.loop.stopping import stop_signals
from explorer.training.loop.stopwatch import TimeSpent
from explorer.training.step.freezing import Freezing
from explorer.training.step.state import TrainState
from explorer.training.trainer import Trainer
from explorer.values.learned import Learned
from explorer.values.learning import learned_of

__all__ = ["LEARNED", "Finished", "notes", "run"]

LEARNED = "learned.json"
_KEPT = 2
# settings that decide how much memory is needed, and XLA's word where it runs out
_SIZES = ("width", "points", "length", "batch")
_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


class Finished(NamedTuple):
    """How a run ended, as in `FitResult`, and the lines of its result if it is complete."""

    stopped: Stopped
    reason: str
    lines: tuple[str, ...]
    state: TrainState
    history: History
    spent: TimeSpent


def run(
    settings: Settings, folder: str | os.PathLike, progress: Progress | None = None
) -> Finished:
    """Train what settings describe, in a folder of its own.

    A folder that holds part of the same run resumes it, to the same numbers as without the
    interruption.

    Args:
        settings: of a recipe.
        folder: created if it is missing.
        progress: receives the progress of the run.

    Raises:
        InputError: the folder belongs to another run, is in use or cannot be written to, the
            data is missing, the loss is not finite, memory runs out, or this is one of
            several processes.
    """
    if jax.process_count() > 1:
        raise InputError(
            f"the recipe {settings.NAME}",
            found=f"{jax.process_count()} processes",
            expected="one, on whose default device it trains",
            cure="train on a mesh of them with Trainer(mesh=) and fit",
        )
    with stop_signals() as received, _memory_for(settings):
        return _train(settings, folder, progress, received)


def _train(
    settings: Settings,
    folder: str | os.PathLike,
    progress: Progress | None,
    received: list[str],
) -> Finished:
    parts = settings.parts()
    config = {
        "recipe": settings.NAME,
        "settings": msgspec.to_builtins(settings),
        "data": parts.facts,
    }
    every = settings.save_every
    with Checkpoints(folder, every=every, keep=_KEPT, config=config) as checkpoints:
        trainer, batches = settings.trainer(parts), settings.batches(parts)
        evaluate = settings.evaluation(trainer, parts)
        state = settings.first_state(trainer, parts)
        if progress is not None:
            for note in notes(trainer, state):
                progress.note(note)
        state = _restored(checkpoints, state, batches, progress)
        jax.block_until_ready(
            state
        )  # one number alone would wait for ever for a failed rest
        empty, document = trainer.history(state), Path(folder) / "history.jsonl"
        with JsonlWriter(
            document, empty.rows, empty.columns, settings.NAME, after=int(state.step)
        ) as writer:
            history = trainer.history(state, run=settings.NAME, writers=[writer])
            if progress is not None and not int(state.step):
                progress = _naming(progress, history, state, parts, settings)
            result = fit(
                trainer,
                state,
                batches,
                steps=settings.steps,
                evaluate=evaluate,
                eval_every=settings.eval_every,
                checkpoints=checkpoints,
                history=history,
                progress=progress,
                tokens_per_batch=parts.tokens,
            )
    _check_finite(result, folder)
    lines, learned = (), None
    if result.stopped == "steps" and not received:
        lines = parts.conclude(result.state, evaluate)
        if parts.write is not None and not exists(str(target := Path(folder) / "result")):
            lines += parts.write(result.state, target)
        learned = _learned(settings.first_state(trainer, parts), result.state)
        learned.save(Path(folder) / LEARNED)
    if result.stopped == "steps" and received:  # after the last step
        reason = f"{received[0]} came after step {settings.steps:,}"
        result = result._replace(stopped="signal", reason=reason)
    history = read_jsonl(document)
    history.learned = learned
    return Finished(
        result.stopped, result.reason, lines, result.state, history, result.spent
    )


def _naming(
    progress: Progress,
    history: History,
    state: TrainState,
    parts: Parts,
    settings: Settings,
) -> SixSteps:
    """Return progress that names the six steps of learning as they are first taken."""
    count = counted(sum(leaf.size for leaf in jax.tree.leaves(state.params)), "parameter")
    origin = f"drawn from seed {settings.seed}" if parts.params is None else "as loaded"
    return SixSteps(progress, history, start=f"{count}, {origin}", steps=settings.steps)


def _learned(first: TrainState, last: TrainState) -> Learned:
    """Return where the parameters changed from the state that a run began with.

    The first state is drawn again from the seed: none is kept while it trains.
    """
    sides = (values_of(resolve(state.params)) for state in (first, last))
    return learned_of(("first step", f"step {int(last.step):,}"), *sides)


def notes(trainer: Trainer, state: TrainState) -> Iterator[str]:
    """Yield what is worth knowing before the first step."""
    if trainer.mesh is not None:
        yield f"on {trainer.mesh.size} devices, each with its part of every batch"
    if isinstance(trainer.freeze, Freezing):
        trained, frozen = trainer.freeze.count(state.params)
        yield f"{trained:,} of {trained + frozen:,} parameters are trained"


def _restored(
    checkpoints: Checkpoints, state: TrainState, batches: Batches, progress: Progress | None
) -> TrainState:
    """Return the state to resume from, and move the batches to their saved position."""
    saved = checkpoints.restore(state)
    if saved is None:
        return state
    batches.restore(saved.data)
    if progress is not None:
        for remark in (*saved.remarks, f"step {saved.step:,} is restored"):
            progress.note(remark)
    return saved.state


@contextmanager
def _memory_for(settings: Settings) -> Iterator[None]:
    """Report in one line that memory ran out, as JAX or NumPy found."""
    try:
        yield
    except (JaxRuntimeError, MemoryError) as error:
        if isinstance(error, JaxRuntimeError) and _OUT_OF_MEMORY not in str(error):
            raise
        reason = first_line(error).removeprefix(f"{_OUT_OF_MEMORY}: ").rstrip(".")
        sizes = [name for name in _SIZES if name in settings.__struct_fields__]
        raise InputError(
            f"the recipe {settings.NAME}",
            found=f"needs more memory than there is ({reason})",
            cure=f"train into another folder with a smaller {' or '.join(sizes)}",
        ) from None


def _check_finite(result: FitResult, folder: str | os.PathLike) -> None:
    if result.stopped == "not finite":
        raise InputError(
            folder,
            found=result.reason,
            expected="finite numbers",
            cure="train into another folder with a smaller learning_rate",
        )
