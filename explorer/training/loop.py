"""The loop around the step: it feeds the device and does not wait for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from explorer.errors import InputError
from explorer.training.checkpoints import Checkpoints
from explorer.training.progress import Progress
from explorer.training.state import State
from explorer.training.stopping import stop_signals
from explorer.training.window import Call, Window, steps_of

__all__ = ["Evaluate", "FitResult", "Stopped", "fit"]

Evaluate = Callable[[State], Mapping[str, Any]]
Stopped = Literal["steps", "data", "signal", "not finite"]


class FitResult(NamedTuple):
    """How training ended.

    `stopped` is "steps" where all were taken, "data" where batches ended, "signal" where a
    signal came, "not finite" where loss or gradients were no numbers; `reason` is that in
    a sentence. The parameters of `state` are finite in any case.
    """

    state: State
    history: Any
    stopped: Stopped
    reason: str


def fit(
    state: State,
    step: Callable[[State, Any], tuple[State, Any]],
    batches: Iterator[Any],
    *,
    steps: int,
    evaluate: Evaluate | None = None,
    eval_every: int = 0,
    checkpoints: Checkpoints | None = None,
    history: Any = None,
    progress: Progress | None = None,
    tokens_per_batch: int = 0,
    watch_every: int = 1,
) -> FitResult:
    """Train until `steps` steps have been taken, those of `state` included.

    SIGTERM and Ctrl-C end it between two steps. A checkpoint is saved every so often and
    at the end, whatever the end is, but never after numbers that are not finite.

    Args:
        state: what to begin with; a step that donates takes it over.
        step: `(state, batch) -> (state, metrics)`, as `make_train_step` makes it.
        batches: an iterator; the position of one with `state()` (`Batches`) is saved.
        steps: the number of the last step.
        evaluate: returns metrics of a state by name, recorded as "eval_...".
        eval_every: steps from one evaluation to the next; 0 for one at the end alone.
        checkpoints: of the run; None to save nothing.
        history: takes the numbers of every step; None to keep none.
        progress: is told how it goes; None to be silent.
        tokens_per_batch: of one step, for the rate of tokens; 0 for no such rate.
        watch_every: of the Watch, so that only what it measured comes to the host.

    Raises:
        InputError: calls of several steps do not end at `steps`, or a checkpoint cannot be
            saved.
    """
    done = int(state.step)
    stopped, reason = "steps", f"all {steps:,} steps are taken"
    window = Window(steps, history, progress, tokens_per_batch, watch_every)
    shown = closing(progress) if progress else nullcontext()
    with stop_signals() as received, shown:
        while done < steps and window.fault is None:
            if received:
                stopped, reason = "signal", f"{received[0]} came after step {done:,}"
                break
            try:
                batch = next(batches)
            except StopIteration:
                stopped, reason = "data", f"the data ended after step {done:,}"
                break
            state, metrics = step(state, batch)
            count = steps_of(metrics)
            if (steps - done) % count:
                raise InputError(
                    "steps",
                    found=f"{steps - done:,} to take, {count:,} a call",
                    expected="a multiple",
                )
            done += count
            evaluation: Mapping[str, Any] = {}
            if evaluate and (done == steps or _is_due(done, count, eval_every)):
                # a copy: the next step may take over what is a part of the state
                evaluation = {n: jnp.array(v) for n, v in evaluate(state).items()}
            window.add(Call(done, count, metrics, evaluation))
            if checkpoints and _is_due(done, count, checkpoints.every):
                _save(checkpoints, state, batches, window)
        if checkpoints:
            _save(checkpoints, state, batches, window)
            checkpoints.wait()
        window.drain()
    if window.fault is not None:
        stopped, reason = "not finite", window.describe_fault(state.params)
    return FitResult(state, history, stopped, reason)


def _is_due(done: int, count: int, every: int) -> bool:
    """Say whether the last `count` steps reached a multiple of `every`."""
    return every > 0 and done // every != (done - count) // every


def _save(
    checkpoints: Checkpoints, state: State, batches: Iterator[Any], window: Window
) -> None:
    """Save a state and the position behind it, if all steps up to it were finite."""
    window.drain()
    if window.fault is None:
        position = getattr(batches, "state", None)
        checkpoints.save(state, position() if position else None)
