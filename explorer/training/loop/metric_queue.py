"""Metrics on their way to the host, a window of steps behind those that are dispatched."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from explorer.training.loop.process_agreement import ProcessAgreement
from explorer.training.loop.progress import Progress, Report
from explorer.training.loop.step_rate import StepRate
from explorer.training.loop.stopwatch import Stopwatch
from explorer.training.step.finite import names_of_bad
from explorer.training.watch.watch import Watch

__all__ = ["NOT_KEPT", "MetricQueue", "StepCall", "steps_of"]

# metrics of a step that its history does not keep as numbers
NOT_KEPT = ("watch", "bad", "finite")
# seconds of steps in a window, and most calls
_SECONDS = 0.25
_MOST = 1000


class StepCall(NamedTuple):
    """One call of a step: `step` steps are taken after it, `taken` of them by it."""

    step: int
    taken: int
    metrics: Mapping[str, Any]
    evaluation: Mapping[str, Any]


def steps_of(metrics: Mapping[str, Any]) -> int:
    """Return how many steps a call took: those that its metrics are stacked of."""
    shape = metrics["loss"].shape
    return shape[0] if shape else 1


class MetricQueue:
    """The newest calls; those before them are fetched when a window of calls is full.

    The host waits only for what is a window behind, while the device has the window at
    hand. A window is as many calls as take a quarter of a second.

    Args:
        steps: the number of the last step.
        history: takes the numbers of every step; None for nobody.
        progress: receives a report after every window; None for none.
        tokens: of one step.
        watch: of the steps; None where it is unknown which are watched.
        process_agreement: with other processes, which end their windows after the same calls.
        stopwatch: which is stopped between steps.
    """

    def __init__(
        self,
        steps: int,
        history: Any,
        progress: Progress | None,
        tokens: int,
        watch: Watch | None,
        process_agreement: ProcessAgreement,
        stopwatch: Stopwatch,
    ):
        self._steps, self._tokens = steps, tokens
        self._watch_every, self._lockstep = watch.every if watch else 1, process_agreement
        self._history, self._progress = history, progress
        self._newest: list[StepCall] = []
        self._before: list[StepCall] = []
        self._rate, self._fitting = StepRate(stopwatch.now, _SECONDS), 1
        self._evaluation: dict[str, float] = {}
        self.fault: StepCall | None = None
        # of the last step that was fetched, its evaluation included if it had one
        self.metrics: dict[str, float] = {}

    def add(self, call: StepCall) -> None:
        """Take in a call, and fetch the window before where this one is full."""
        self._newest.append(self._without_empty_watch(call))
        if len(self._newest) >= self._lockstep.size:
            self._fetch(self._before)
            self._before, self._newest = self._newest, []
            self._lockstep.turn(self._fitting)

    def settle(self, call: StepCall) -> None:
        """Wait until a call, the newest, is finished: what follows is measured by itself."""
        jax.block_until_ready(call.metrics)
        self._rate.reached(call.step)

    def drain(self) -> None:
        """Fetch all there is, waiting for the device."""
        calls, self._before, self._newest = self._before + self._newest, [], []
        self._fetch(calls)

    def describe_fault(self, params: Any) -> str:
        """Return in words which step was not finite, and which gradients."""
        assert self.fault is not None, "asked only where there is one"
        names = names_of_bad(params, self.fault.metrics["bad"])
        loss = float(self.fault.metrics["loss"])
        fault = f"step {self.fault.step:,}: the loss is {loss:.4g}"
        if names:
            return f"{fault}, gradients are not finite in {', '.join(names)}"
        if np.isfinite(loss):  # each tensor is small enough, all together are not
            return f"{fault}, the norm of all gradients is not finite"
        return fault

    def _fetch(self, calls: list[StepCall]) -> None:
        """Bring the metrics of these calls to the host and hand them on, up to a fault."""
        if not calls or self.fault is not None:
            return
        numbers: dict[str, float] = {}
        # a failed step says so when it is waited for; to read from it may never end
        fetched = jax.device_get(jax.block_until_ready(calls))
        for step in (step for call in fetched for step in _single_steps(call)):
            if not step.metrics["finite"]:
                self.fault = step
                return
            numbers = {
                name: float(value)
                for name, value in step.metrics.items()
                if name not in NOT_KEPT
            }
            evaluation = {f"eval_{n}": float(v) for n, v in step.evaluation.items()}
            if self._history is not None:
                self._history.append(
                    step.step, numbers | evaluation, step.metrics.get("watch")
                )
            self._evaluation |= evaluation
            self.metrics = numbers | evaluation
        self._measure(calls[-1])
        if self._progress is not None:
            self._progress.report(
                Report(
                    step=calls[-1].step,
                    steps=self._steps,
                    metrics=_shown(numbers) | self._evaluation,
                    steps_per_second=self._rate.shown,
                    tokens_per_second=self._rate.shown * self._tokens,
                    evaluated=any(call.evaluation for call in calls),
                )
            )

    def _without_empty_watch(self, call: StepCall) -> StepCall:
        """Return a call whose table, if no step of it was watched, stays where it is."""
        first = call.step - call.taken  # steps are watched by the number taken before
        if -(-first // self._watch_every) * self._watch_every < call.step:
            return call
        metrics = {n: value for n, value in call.metrics.items() if n != "watch"}
        return call._replace(metrics=metrics)

    def _measure(self, call: StepCall) -> None:
        """Learn that the steps up to this call are finished, and how long a window fits."""
        self._rate.reached(call.step)
        if self._rate.measured:
            fitting = int(self._rate.measured / call.taken * _SECONDS)
            self._fitting = max(1, min(fitting, 2 * self._lockstep.size, _MOST))


def _shown(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the loss and what the loss function adds to it, in the order they are read."""
    others = {name: numbers[name] for name in numbers if name not in ("loss", "grad_norm")}
    return {"loss": numbers["loss"], **others}


def _single_steps(call: StepCall) -> list[StepCall]:
    """Return the steps of a call that is on the host; the last has its evaluation."""
    if not np.ndim(call.metrics["loss"]):
        return [call]
    first = call.step - call.taken + 1
    return [
        StepCall(
            first + index,
            1,
            {name: value[index] for name, value in call.metrics.items()},
            call.evaluation if first + index == call.step else {},
        )
        for index in range(call.taken)
    ]
