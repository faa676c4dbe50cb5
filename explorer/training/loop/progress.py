"""How far training is: one line that changes where it can, else a line now and then."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

import msgspec

__all__ = ["LineProgress", "Progress", "Report"]

_BAR = 20
# seconds between lines; the first and the last are always shown
_LIVE, _PLAIN = 0.1, 10.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is.

    `step` of `steps` are taken; `metrics` are the newest by name. Rates are 0 until they
    can be told. `evaluated` says that this step was.
    """

    step: int
    steps: int
    metrics: Mapping[str, float]
    steps_per_second: float = 0.0
    tokens_per_second: float = 0.0
    evaluated: bool = False

    def __str__(self) -> str:
        """Return the report as one line.

        >>> print(Report(step=30, steps=120, metrics={"loss": 1.5}, steps_per_second=2))
        step 30/120  loss 1.5  2.00 steps/s  0:45 left
        """
        parts = [f"step {self.step:,}/{self.steps:,}"]
        parts += [f"{name} {value:.4g}" for name, value in self.metrics.items()]
        if self.steps_per_second:
            parts.append(f"{_rate(self.steps_per_second)} steps/s")
        if self.tokens_per_second:
            parts.append(f"{_rate(self.tokens_per_second)} tokens/s")
        if self.steps_per_second and self.step < self.steps:
            seconds = int((self.steps - self.step) / self.steps_per_second)
            parts.append(f"{seconds // 60}:{seconds % 60:02} left")
        return "  ".join(parts)


class Progress(Protocol):
    """What `fit` tells how it goes."""

    def report(self, report: Report) -> None:
        """Take notice of where the run is."""
        ...

    def note(self, text: str) -> None:
        """Take notice of something that is said once."""
        ...

    def close(self) -> None:
        """Show what was not shown yet; nothing follows until the next report."""
        ...


class LineProgress:
    """Progress as text: a line that is written over in a terminal or a notebook, else lines.

    Args:
        stream: where to; None for stderr.
        live: whether a line can be written over; None to find out.
        clock: of seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._stream = sys.stderr if stream is None else stream
        self._live = _is_live(self._stream) if live is None else live
        self._clock, self._next = clock, clock()
        self._waiting: Report | None = None
        self._drawn = 0

    def report(self, report: Report) -> None:
        """Show a report, or keep it until it is time for the next."""
        self._waiting = report
        milestone = report.step >= report.steps or (report.evaluated and not self._live)
        if milestone or self._clock() >= self._next:
            self._show(report)

    def note(self, text: str) -> None:
        """Write a line of its own, above the one that changes."""
        self._write(text, "\n")

    def close(self) -> None:
        """Show the last report, and end its line."""
        if self._waiting is not None:
            self._show(self._waiting)
        if self._drawn:
            self._stream.write("\n")
            self._stream.flush()
        self._drawn = 0

    def _show(self, report: Report) -> None:
        self._waiting = None
        self._next = self._clock() + (_LIVE if self._live else _PLAIN)
        if not self._live:
            self._write(str(report), "\n")
            return
        done = _BAR * min(report.step, report.steps) // max(report.steps, 1)
        bar = ("=" * done + ">" * (done < _BAR)).ljust(_BAR)
        self._write(f"[{bar}] {report}"[: _columns(self._stream) - 1], "")

    def _write(self, text: str, end: str) -> None:
        """Write over the line that is there, spaces where the new one is shorter."""
        start = "\r" if self._drawn else ""
        self._stream.write(start + text.ljust(self._drawn) + end)
        self._stream.flush()
        self._drawn = 0 if end else len(text)


def _is_live(stream: TextIO) -> bool:
    """Say whether a carriage return takes the reader back to the start of the line."""
    if type(stream).__module__.startswith("ipykernel"):  # a notebook's
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):  # no terminal, or not even a file
        return 120


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" if rate < 1 else f"{rate:.2f}"
