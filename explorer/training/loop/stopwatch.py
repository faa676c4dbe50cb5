"""Where the time of a run goes: to its steps, and to what is done between them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

__all__ = ["Between", "Stopwatch", "TimeSpent"]

Between = Literal["first_step", "evaluation", "saving"]


class TimeSpent(NamedTuple):
    """Seconds of a run, by what the host waited for.

    Attributes:
        steps: to feed the device with steps, and to wait for them, without the first.
        first_step: the first call of the step, in which it is compiled where it was not.
        evaluation: to evaluate, compilation included.
        saving: that the steps stood still for checkpoints, and to check, before each and at the
            end, that parameters are finite; what is written beside the steps, as Orbax does, is
            not counted.

    >>> print(TimeSpent(steps=61.25, first_step=4.0, saving=0.0625))
    steps 61.2 s, the first 4.00 s, checks and saves 0.06 s
    """

    steps: float = 0.0
    first_step: float = 0.0
    evaluation: float = 0.0
    saving: float = 0.0

    def __str__(self) -> str:
        parts = [f"steps {_seconds(self.steps)}", f"the first {_seconds(self.first_step)}"]
        parts += [
            f"{name} {_seconds(spent)}"
            for name, spent in (
                ("evaluation", self.evaluation),
                ("checks and saves", self.saving),
            )
            if spent
        ]
        return ", ".join(parts)


class Stopwatch:
    """A clock of the steps alone: it stands still while anything else is done.

    Args:
        clock: of seconds.

    >>> seconds = iter([0.0, 2.0, 7.0, 8.0]).__next__
    >>> watch = Stopwatch(seconds)  # started at 0
    >>> with watch.stopped("evaluation"):  # from 2 to 7
    ...     pass
    >>> watch.spent()  # at 8
    TimeSpent(steps=3.0, first_step=0.0, evaluation=5.0, saving=0.0)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._start = clock, clock()
        self._between: dict[str, float] = {}

    def now(self) -> float:
        """Return the seconds since the start in which it ran."""
        return self._clock() - self._start - sum(self._between.values())

    @contextmanager
    def stopped(self, reason: Between) -> Iterator[None]:
        """Stand still; what is done inside has to be finished when it ends."""
        start = self._clock()
        try:
            yield
        finally:
            spent = self._clock() - start
            self._between[reason] = self._between.get(reason, 0.0) + spent

    def spent(self) -> TimeSpent:
        """Return the seconds so far, by what they were spent on."""
        return TimeSpent(steps=self.now(), **self._between)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"
