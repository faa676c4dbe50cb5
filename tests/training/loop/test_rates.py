"""Rates and times of a run, on a clock that only what is timed moves on."""

import sys
import threading
from functools import partial
from typing import Any

import numpy as np
import pytest

from explorer.training.loop import finite_state
from explorer.training.loop import fit as loop
from explorer.training.loop import progress as progress_module
from explorer.training.loop.fit import FitResult, fit
from explorer.training.loop.progress import LineProgress, Report, waited_for
from explorer.training.loop.stopwatch import Stopwatch, TimeSpent
from tests.training.loop.test_loop import created
from tests.training.tiny import Steps

FIRST, STEP, EVALUATION, SAVING, CHECK = 90.0, 0.5, 40.0, 7.0, 1.0


class Clock:
    """Seconds that pass on demand, and a device that is busy for some of them."""

    def __init__(self) -> None:
        self.now = self.busy_until = 0.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def dispatch(self, seconds: float, value: np.ndarray) -> "Pending":
        """Return what the device is done with so many seconds after what it does now."""
        self.busy_until = max(self.now, self.busy_until) + seconds
        return Pending(self, self.busy_until, value)


class Pending:
    """A number that time passes to wait for."""

    def __init__(self, clock: Clock, ready_at: float, value: np.ndarray):
        self._clock, self._ready_at, self._value = clock, ready_at, value
        self.shape = value.shape

    def block_until_ready(self) -> "Pending":
        self._clock.now = max(self._clock.now, self._ready_at)
        return self

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self._value


class Saved:
    """What takes its time to save every few steps, in the place of checkpoints."""

    best = None

    def __init__(self, clock: Clock, every: int):
        self.every, self._clock, self.saves = every, clock, 0

    def check_continues(self, step: int) -> None:
        """Continue anything."""

    def has_failed(self) -> bool:
        return False

    def save(self, *_: Any) -> None:
        self._clock.passes(SAVING)
        self.saves += 1

    def wait(self) -> None:
        """Have nothing to wait for."""


class Endless:
    """Batches without end, which know where they are."""

    def __iter__(self) -> "Endless":
        return self

    def __next__(self) -> np.ndarray:
        return np.zeros(1)

    def get_state(self) -> int:
        return 0

    def set_state(self, state: int) -> None:
        """Be where it was."""


class Reports(list[Report]):
    """Progress that keeps what is reported."""

    def report(self, report: Report) -> None:
        self.append(report)

    def note(self, text: str) -> None:
        """Keep no notes."""

    def close(self) -> None:
        """Hold nothing open."""


def timed_run(
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    taken: int = 1,
    eval_every: int = 0,
    every: int = 0,
) -> tuple[FitResult, Reports, Saved]:
    """Run steps that take half a second each, and a minute and a half the first time."""
    clock, reports, calls = Clock(), Reports(), iter(range(steps))
    monkeypatch.setattr(loop, "Stopwatch", partial(Stopwatch, clock))
    saved = Saved(clock, every)

    def step(state: Any, batch: Any) -> tuple[Any, Any]:
        shape = (taken,) if taken > 1 else ()
        seconds = taken * STEP if next(calls) else FIRST
        loss = clock.dispatch(seconds, np.ones(shape, np.float32))
        metrics = {"loss": loss, "finite": np.ones(shape, bool)}
        return state.replace(step=state.step + taken), metrics

    def evaluate(state: Any) -> dict[str, float]:
        clock.passes(EVALUATION)
        return {"loss": 1.0}

    def not_finite(params: Any) -> np.ndarray:
        clock.passes(CHECK)  # as long as it takes to compile it, say
        return np.array([-1])

    monkeypatch.setattr(finite_state, "_not_finite", not_finite)
    checkpoints: Any = saved if every else None
    batches = Endless()
    result = fit(
        Steps(step, None), created(), batches, steps=steps, evaluate=evaluate,
        eval_every=eval_every, checkpoints=checkpoints, progress=reports,
    )  # fmt: skip
    return result, reports, saved


@pytest.mark.parametrize(
    ("taken", "eval_every", "every"), [(1, 0, 0), (1, 3, 0), (1, 3, 4), (5, 10, 10)]
)
def test_rates_are_those_of_the_steps_alone_from_the_first_that_is_shown(
    monkeypatch: pytest.MonkeyPatch, taken: int, eval_every: int, every: int
):
    _, reports, _ = timed_run(monkeypatch, 60, taken, eval_every, every)
    rates = [report.steps_per_second for report in reports]
    shown = [rate for rate in rates if rate]
    assert shown
    np.testing.assert_allclose(shown, 1 / STEP)
    # only what is known after the first call has no rate yet
    assert rates[rates.index(shown[0]) :] == shown
    assert all(
        report.step <= 2 * taken for report in reports if not report.steps_per_second
    )


def test_time_is_divided_among_what_it_was_spent_on(monkeypatch: pytest.MonkeyPatch):
    result, _, saved = timed_run(monkeypatch, 60, eval_every=10, every=20)
    assert result.stopped == "steps"
    assert result.spent == TimeSpent(
        steps=59 * STEP,
        first_step=FIRST,
        evaluation=6 * EVALUATION,
        saving=saved.saves * (CHECK + SAVING),
    )
    assert (
        str(result.spent)
        == "steps 29.5 s, the first 90.0 s, evaluation 240.0 s, checks and saves 32.0 s"
    )


def test_a_first_step_that_takes_long_says_so_now_and_then(monkeypatch: pytest.MonkeyPatch):
    noted, notes = threading.Event(), list[str]()
    monkeypatch.setattr(progress_module, "_PATIENCE", (0.001,))

    class Notes(Reports):
        def note(self, text: str) -> None:
            notes.append(text)
            if len(notes) == 3:
                noted.set()

    with waited_for(Notes()):
        assert noted.wait(60)
    assert notes[0] == "compiling the step, and taking it for the first time: 0 s"
    assert not [t for t in threading.enumerate() if t.name == "progress of the first step"]


class Raises(Reports):
    """Progress whose stream is closed."""

    def __init__(self) -> None:
        self.noted = threading.Event()

    def note(self, text: str) -> None:
        self.noted.set()
        raise BrokenPipeError(text)


def test_a_note_that_cannot_be_written_ends_the_run_as_a_report_would(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(progress_module, "_PATIENCE", (0.0,))
    unseen = []
    monkeypatch.setattr(threading, "excepthook", unseen.append)
    closed = Raises()
    with pytest.raises(BrokenPipeError, match="compiling"), waited_for(closed):
        assert closed.noted.wait(60)
    closed = Raises()
    with pytest.raises(KeyError), waited_for(closed):  # what the step raises comes first
        {}[closed.noted.wait(60)]
    assert not unseen


def test_a_first_step_without_progress_is_waited_for_quietly(capsys: pytest.CaptureFixture):
    with waited_for(None), waited_for(LineProgress(sys.stderr)):
        pass
    assert capsys.readouterr().err == ""
