"""The loop around the step: it feeds the device and does not wait for it.

Where several processes train one state (`jax.distributed`), each makes the same call of `fit`,
with its own part of every batch. A signal to any of them ends all at the same step, which may
be half a second later; so do numbers that are not finite. The data has to end on all after the
same batch: a process cannot take a step alone, and one that has a batch more than another waits
for it until JAX finds that the other is gone. An error in one process (its data, its history)
is not known to the others either, which end in the same way.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import jax

from explorer.errors import InputError
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.data.batches import Batches
from explorer.training.data.loaders import (
    as_arrays,
    has_position,
    position_of,
    warn_without_position,
)
from explorer.training.loop import arguments
from explorer.training.loop.best_metric import check_best, is_better
from explorer.training.loop.early_stop import (
    EarlyStop,
    Patience,
    check_early_stop,
    warn_without_history,
)
from explorer.training.loop.finite_state import wrong_with
from explorer.training.loop.metric_queue import MetricQueue, StepCall, steps_of
from explorer.training.loop.process_agreement import ProcessAgreement
from explorer.training.loop.progress import Progress, waited_for
from explorer.training.loop.stopping import stop_signals
from explorer.training.loop.stopwatch import Stopwatch, TimeSpent
from explorer.training.step.state import TrainState
from explorer.training.watch.watch import Watch
from explorer.tree.types import Batch

__all__ = ["Evaluate", "FitResult", "Stopped", "Trains", "fit"]

Evaluate = Callable[[TrainState], Mapping[str, Any]]
Stopped = Literal["steps", "data", "signal", "not finite", "no better"]


class FitResult(NamedTuple):
    """How training ended.

    `stopped` is "steps" where all were taken, "data" where the batches ended, "signal" where a
    stop signal was received, "not finite" where loss, gradients or parameters were not, "no
    better" where `early_stop` ended it; `reason` says it in a sentence.

    `state` is the one after the last step whose loss and gradients were finite. Its
    parameters are finite too, unless `reason` says otherwise: finite gradients may give an
    update that is not. They are checked at each checkpoint, which is then not saved, and at
    the end.

    `spent` says how many seconds the steps took, and what came between them.

    >>> result = FitResult(state=None, history=None, stopped="signal", reason="SIGTERM came")
    >>> result.stopped, result.reason
    ('signal', 'SIGTERM came')
    """

    state: TrainState
    history: Any
    stopped: Stopped
    reason: str
    spent: TimeSpent = TimeSpent()


class Trains(Protocol):
    """What `fit` needs of a `Trainer`: its step, and the watch inside that step."""

    @property
    def step(self) -> Callable[[TrainState, Batch], tuple[TrainState, Any]]:
        """Take one step, or several in one call."""
        ...

    @property
    def watch(self) -> Watch | None:
        """Return what the step measures of the parameters, if anything."""
        ...


def fit(
    trainer: Trains,
    state: TrainState,
    batches: Iterable[Batch],
    *,
    steps: int,
    evaluate: Evaluate | None = None,
    eval_every: int = 0,
    early_stop: EarlyStop | None = None,
    checkpoints: Checkpoints | None = None,
    history: Any = None,
    progress: Progress | None = None,
    tokens_per_batch: int = 0,
) -> FitResult:
    """Train until `steps` steps have been taken, those of `state` included.

    SIGTERM and Ctrl-C end it between two steps. Checkpoints are saved every
    `checkpoints.every` steps and at any end, but never of numbers that are not finite. A save
    that fails ends it too, as soon as that is known. Several processes: see this module.

    Args:
        trainer: a `Trainer`, or anything with its `step` and `watch`.
        state: what to begin with, of `Trainer.init`; a step that donates uses its memory.
        batches: of any kind that can be iterated over, as trees of NumPy, JAX or torch arrays.
            The position of an iterator with `state()` (`Batches`), `get_state()` (grain) or
            `state_dict()` (torchdata) is saved, and `Checkpoints.restore(batches=)` goes back
            to it; with others a resumed run begins its data anew, and a warning says so.
        steps: the number of the last step.
        evaluate: returns metrics of a state by name, recorded as "eval_...".
        eval_every: steps from one evaluation to the next; 0 for one at the end alone.
        early_stop: ends the run when evaluations find nothing better; None for never. A run
            that goes on counts the evaluations that `history` holds.
        checkpoints: of the run; None to save nothing. Call its `restore` before, to continue
            what its folder holds.
        history: takes the numbers of every step; None to keep none. What it holds of later
            steps, as of a process that was killed, is cut off, in its JSON lines too.
        progress: receives the progress of the run; None for no output.
        tokens_per_batch: of one step, for the rate of tokens; 0 for no such rate.

    Raises:
        InputError: a number is below 0, the state was given to a step before or is halted,
            `evaluate` returns no numbers, `steps_per_call` of trainer and batches differ or
            does not divide the steps to take, the folder of `checkpoints` holds some that
            the state does not continue from, or one cannot be saved.

    >>> import jax.numpy as jnp, optax
    >>> from explorer.models.small import LinearRegression
    >>> from explorer.training import Arrays, Batches, Trainer
    >>> model, x = LinearRegression(), jnp.linspace(-1, 1, 8)[:, None]
    >>> def loss_fn(params, batch, context):
    ...     x, y = batch
    ...     return jnp.square(model.apply({"params": params}, x) - y).mean()
    >>> trainer = Trainer(model, loss_fn, optax.sgd(0.5))
    >>> batches = Batches(Arrays((x, 2 * x + 1)), 8)
    >>> result = fit(trainer, trainer.init(jax.random.key(0), x), batches, steps=60)
    >>> print(result.reason, f"{result.state.params['linear']['kernel'].item():.3f}")
    all 60 steps are taken 2.000
    """
    arguments.check_counts(
        steps=steps, eval_every=eval_every, tokens_per_batch=tokens_per_batch
    )
    step, watch = arguments.parts_of(trainer)
    arguments.check_state(state)
    arguments.check_parts(checkpoints, history, progress, evaluate)
    check_early_stop(early_stop, evaluate, eval_every)
    arguments.check_calls(trainer, batches)
    given, batches = batches, arguments.iterator_of(batches)
    positioned = batches if has_position(batches) else given
    if checkpoints:
        warn_without_position(positioned)
        checkpoints.check_continues(int(state.step))
    if int(state.step) < steps and (rewind := getattr(history, "rewind", None)):
        rewind(int(state.step))
    patience = Patience(early_stop, history)
    warn_without_history(patience, int(state.step))
    shown = closing(progress) if progress else nullcontext()
    with stop_signals() as received, shown:
        has_failed = checkpoints.has_failed if checkpoints else None
        agreement = ProcessAgreement(state, received, has_failed)
        stopwatch = Stopwatch()
        queue = MetricQueue(
            steps, history, progress, tokens_per_batch, watch, agreement, stopwatch
        )
        run = _Run(
            state,
            batches,
            positioned,
            step,
            steps,
            evaluate,
            eval_every,
            patience,
            checkpoints,
            agreement,
            queue,
            stopwatch,
            progress,
        )
        del state  # else what training began with is in memory to its end
        stopped, reason = run.train()
        if stopped != "not finite" and (wrong := run.save_unless_wrong()):
            stopped, reason = "not finite", wrong
        if checkpoints:
            with stopwatch.stopped("saving"):
                checkpoints.wait()
    return FitResult(run.state, history, stopped, reason, stopwatch.spent())


@dataclass
class _Run:
    """A run: its state, and what is done with a batch and with its numbers."""

    state: TrainState
    batches: Iterator[Batch]
    positioned: Any  # what knows where the batches are: they, or the loader that made them
    step: Callable[[TrainState, Batch], tuple[TrainState, Any]]
    steps: int
    evaluate: Evaluate | None
    eval_every: int
    patience: Patience
    checkpoints: Checkpoints | None
    agreement: ProcessAgreement
    queue: MetricQueue
    stopwatch: Stopwatch
    progress: Progress | None

    def __post_init__(self) -> None:
        own = isinstance(self.batches, Batches)  # whose arrays are new each time
        self._arrays = self.batches if own else as_arrays(self.batches)

    def train(self) -> tuple[Stopped, str]:
        """Take steps, and return why the last one is the last."""
        first = done = int(self.state.step)
        while done < self.steps and self.queue.fault is None and not self.patience.is_over:
            if signal := self.agreement.signal:
                return "signal", f"{signal} came after step {done:,}"
            try:
                batch = next(self._arrays)
            except StopIteration:
                return "data", f"the data ended after step {done:,}"
            metrics = self._step(batch) if done > first else self._first_step(batch)
            count = _checked(steps_of(metrics), self.steps - done)
            done += count
            call = StepCall(done, count, metrics, {})
            if done == first + count:
                self.queue.settle(call)
            call = call._replace(evaluation=self._evaluation(call))
            if done == first + count or call.evaluation:
                check_best(self.checkpoints, call, self.evaluate is not None)
            self.queue.add(call)
            if self.checkpoints and self.agreement.save_failed:
                self.checkpoints.wait()  # and learn why
            if self._is_to_be_saved(call) and (wrong := self.save_unless_wrong()):
                return "not finite", wrong
        if self.patience.is_over:
            return "no better", f"{self.patience} by step {done:,}"
        return "steps", f"all {self.steps:,} steps are taken"

    def _step(self, batch: Batch) -> Any:
        self.state, metrics = self.step(self.state, batch)
        return metrics

    def _first_step(self, batch: Batch) -> Any:
        with self.stopwatch.stopped("first_step"), waited_for(self.progress):
            return jax.block_until_ready(self._step(batch))

    def _evaluation(self, call: StepCall) -> Mapping[str, Any]:
        due = call.step == self.steps or _is_due(call.step, call.taken, self.eval_every)
        if not (self.evaluate and due):
            return {}
        self.queue.settle(call)
        with self.stopwatch.stopped("evaluation"):
            found = jax.block_until_ready(arguments.copied(self.evaluate(self.state)))
        self.patience.add(found)
        return found

    def _is_to_be_saved(self, call: StepCall) -> bool:
        if self.checkpoints is None:
            return False
        is_due = _is_due(call.step, call.taken, self.checkpoints.every)
        return is_due or is_better(self.checkpoints, call)

    def save_unless_wrong(self) -> str:
        """Save the state and the position behind it, or return what is not finite."""
        self.queue.drain()
        with self.stopwatch.stopped("saving"):
            wrong = wrong_with(self.state, self.queue)
            if self.checkpoints and not wrong:
                position = position_of(self.positioned)
                self.checkpoints.save(self.state, position, self.queue.metrics)
        return wrong


def _checked(count: int, left: int) -> int:
    """Return the steps of a call; refuse calls that cannot end with the last step."""
    if left % count:
        found = f"{left:,} to take, {count:,} a call"
        expected = "steps that are divisible by steps_per_call"
        raise InputError("steps", found=found, expected=expected)
    return count


def _is_due(done: int, count: int, every: int) -> bool:
    """Return whether the last `count` steps reached a multiple of `every`."""
    return every > 0 and done // every != (done - count) // every
