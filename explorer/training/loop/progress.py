"""How far training is: tqdm's bar in a terminal or a notebook, else a line now and then."""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

import msgspec

from explorer.errors import check_type

__all__ = ["LineProgress", "Progress", "Report", "waited_for"]

_BAR = "{percentage:3.0f}%|{bar:20}| {desc}"
# seconds from one word about a first step that takes long to the next; the last goes on
_PATIENCE = (1.0, 9.0, 20.0, 30.0, 60.0)
# seconds between reports that are shown; the first and the last always are
_LIVE, _PLAIN = 0.1, 10.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is.

    Attributes:
        step: how many steps are taken.
        steps: how many there are to take.
        metrics: the newest numbers by name.
        steps_per_second: 0 until it is known.
        tokens_per_second: 0 until it is known.
        evaluated: whether there was an evaluation after this step.

    >>> print(Report(step=30, steps=120, metrics={"loss": 1.5}, steps_per_second=2))
    step 30/120  loss 1.5  2.00 steps/s  0:45 left
    """

    step: int
    steps: int
    metrics: Mapping[str, float]
    steps_per_second: float = 0.0
    tokens_per_second: float = 0.0
    evaluated: bool = False

    def __str__(self) -> str:
        """Return the report as one line."""
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
    """What `fit` reports its progress to: any object with these methods.

    >>> class Losses(list):
    ...     def report(self, report): self.append(report.metrics["loss"])
    ...     def note(self, text): pass
    ...     def close(self): pass
    >>> losses: Progress = Losses()
    >>> losses.report(Report(step=1, steps=2, metrics={"loss": 0.5}))
    >>> losses
    [0.5]
    """

    def report(self, report: Report) -> None:
        """Take a report of where the run is."""
        ...

    def note(self, text: str) -> None:
        """Take a line that is shown once."""
        ...

    def close(self) -> None:
        """Show what was not shown yet; nothing follows until the next report."""
        ...


class LineProgress:
    """Progress as text: tqdm's bar in a terminal or a notebook, else a line now and then.

    Args:
        stream: where to write; None for stderr.
        live: whether a line can be overwritten; None to find out.
        clock: returns seconds.

    >>> progress = LineProgress(sys.stdout)
    >>> progress.report(Report(step=1, steps=2, metrics={"loss": 0.5}))
    step 1/2  loss 0.5
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._stream = sys.stderr if stream is None else stream
        if isinstance(stream, type) or not hasattr(self._stream, "isatty"):
            check_type("stream", stream, (), "a stream of text, or None")
        self._live = _is_live(self._stream) if live is None else live
        self._clock, self._next = clock, clock()
        self._waiting: Report | None = None
        self._bar: Any = None

    def report(self, report: Report) -> None:
        """Show a report, or keep it until it is time for the next."""
        self._waiting = report
        milestone = report.step >= report.steps or (report.evaluated and not self._live)
        if milestone or self._clock() >= self._next:
            self._show(report)

    def note(self, text: str) -> None:
        """Write a line of its own, above the bar."""
        if self._bar is None:
            self._write_line(text)
        else:
            self._bar.write(text, file=self._stream)

    def close(self) -> None:
        """Show the last report, and end its line."""
        if self._waiting is not None:
            self._show(self._waiting)
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, report: Report) -> None:
        self._waiting = None
        self._next = self._clock() + (_LIVE if self._live else _PLAIN)
        if not self._live:
            self._write_line(str(report))
            return
        done = min(report.step, report.steps)
        if self._bar is None:
            from tqdm.auto import tqdm  # which finds out whether there are widgets to use

            self._bar = tqdm(
                desc=str(report),
                total=report.steps,
                initial=done,
                file=self._stream,
                dynamic_ncols=True,
                bar_format=_BAR,
            )
        else:
            self._bar.n = done
            self._bar.set_description_str(str(report))

    def _write_line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


@contextmanager
def waited_for(progress: Progress | None) -> Iterator[None]:
    """Say what takes so long while the step is taken for the first time.

    Args:
        progress: receives a note after a second, and now and then; None for no output.

    Raises:
        Exception: what `progress` raised, once the step is taken.
    """
    over = threading.Event()
    raised: list[Exception] = []

    def note() -> None:
        assert progress is not None, "there is no thread without one"
        start = time.monotonic()
        for number in itertools.count():
            if over.wait(_PATIENCE[min(number, len(_PATIENCE) - 1)]):
                return
            seconds = time.monotonic() - start
            text = f"compiling the step, and taking it for the first time: {seconds:.0f} s"
            try:
                progress.note(text)
            except Exception as error:  # of whatever kind: raised below, where it is seen
                raised.append(error)
                return

    if progress is None:
        yield
        return
    thread = threading.Thread(target=note, name="progress of the first step", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if raised:
        raise raised[0]


def _is_live(stream: TextIO) -> bool:
    """Return whether a line of the stream can be overwritten."""
    if type(stream).__module__.startswith("ipykernel"):  # a notebook's
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" if rate < 1 else f"{rate:.2f}"
