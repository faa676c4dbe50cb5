"""How fast steps are taken, by when they are known to be finished."""

from collections.abc import Callable

__all__ = ["StepRate"]

# what the newest window counts for
_NEWEST = 0.3


class StepRate:
    """Steps a second, of moments at which it is known which steps are finished.

    Args:
        clock: of seconds, such as `Stopwatch.now`, which stands still between steps.
        window: seconds that are measured together, at the least half of them.

    >>> seconds = iter([0.0, 0.25, 0.5]).__next__
    >>> rate = StepRate(seconds, 0.25)
    >>> for step in (1, 2, 2, 4):  # that step 2 is finished tells nothing the second time
    ...     rate.reached(step)
    >>> rate.shown
    5.2
    """

    def __init__(self, clock: Callable[[], float], window: float):
        self._clock, self._window = clock, window
        self._since: float | None = None
        self._done, self._rate = 0, 0.0
        self.shown = 0.0

    @property
    def measured(self) -> float:
        """The rate of whole windows; 0 before the first."""
        return self._rate

    def reached(self, step: int) -> None:
        """Learn that all steps up to this one are finished by now."""
        if self._since is not None and step <= self._done:
            return
        now, since = self._clock(), self._since
        if since is None:
            self._since, self._done = now, step
            return
        seconds = max(now - since, 1e-9)
        rate = (step - self._done) / seconds
        if seconds < self._window / 2:  # too short to tell much
            self.shown = self._rate or rate
            return
        share = _NEWEST if self._rate else 1.0
        self._rate += share * (rate - self._rate)
        self.shown = self._rate
        self._since, self._done = now, step
