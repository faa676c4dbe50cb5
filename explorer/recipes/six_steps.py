"""The six steps of learning, named as a run takes them for the first time."""

from explorer.document.words import counted
from explorer.training.logging.history import History
from explorer.training.loop.progress import Progress, Report

__all__ = ["SixSteps"]

_WIDTH = len("backpropagation")


class SixSteps:
    """Progress that names the six steps of learning once, with the numbers of the first step.

    Args:
        progress: receives the names as notes, and everything that it would receive anyway.
        history: of the run; it holds the first step by the time that this is reported.
        start: what the run begins with.
        steps: how often the middle four are repeated.

    >>> from explorer.training.loop.progress import LineProgress
    >>> import sys
    >>> history = History()
    >>> named = SixSteps(LineProgress(sys.stdout), history, start="2 parameters", steps=9)
    1 initialise       2 parameters
    >>> history.append(1, {"loss": 2.5, "grad_norm": 0.5})
    >>> named.report(Report(step=1, steps=9, metrics={"loss": 2.5}))
    2 forward          predictions from the first batch
    3 loss             2.5: how wrong they are
    4 backpropagation  the loss by each parameter: a gradient of norm 0.5
    5 update           each parameter is changed a little, against its gradient
    6 repeat           steps 2 to 5, 9 times
    step 1/9  loss 2.5
    """

    def __init__(self, progress: Progress, history: History, *, start: str, steps: int):
        self._progress, self._history, self._steps = progress, history, steps
        self._named = False
        self._note(1, "initialise", start)

    def report(self, report: Report) -> None:
        """Name the steps before the first report, and pass it on."""
        if not self._named and len(self._history):
            self._named = True
            first = self._history.records[0].metrics
            self._note(2, "forward", "predictions from the first batch")
            self._note(3, "loss", f"{first['loss']:.4g}: how wrong they are")
            norm = f"{first['grad_norm']:.4g}"
            what = f"the loss by each parameter: a gradient of norm {norm}"
            self._note(4, "backpropagation", what)
            what = "each parameter is changed a little, against its gradient"
            self._note(5, "update", what)
            self._note(6, "repeat", f"steps 2 to 5, {counted(self._steps, 'time')}")
        self._progress.report(report)

    def note(self, text: str) -> None:
        """Pass a note on."""
        self._progress.note(text)

    def close(self) -> None:
        """Close what it is passed on to."""
        self._progress.close()

    def _note(self, number: int, name: str, text: str) -> None:
        self._progress.note(f"{number} {name:{_WIDTH}}  {text}")
