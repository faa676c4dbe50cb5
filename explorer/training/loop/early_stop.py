"""When a run ends because it no longer gets better."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from math import inf
from typing import Any, Literal

from explorer.document.words import counted
from explorer.errors import InputError, check_type, shown

__all__ = ["EarlyStop", "Patience", "check_early_stop", "warn_without_history"]


@dataclass(frozen=True)
class EarlyStop:
    """End a run when evaluations no longer find it better.

    Args:
        patience: how many evaluations in a row may bring nothing better.
        metric: of `evaluate`, by its name there.
        mode: "min" where less is better, "max" where more is.
        min_delta: what a value must be better by to count.

    Raises:
        InputError: a field is out of range.

    >>> stop = EarlyStop(patience=2)
    >>> [stop.waited(losses) for losses in ([3.0, 2.0], [3.0, 2.0, 2.5], [3.0, 2.0, 2.5, 2.0])]
    [0, 1, 2]
    """

    patience: int
    _: KW_ONLY
    metric: str = "loss"
    mode: Literal["min", "max"] = "min"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        check_type("metric", self.metric, str, "a name")
        whole = type(self.patience) is int and self.patience >= 1
        if not whole or type(self.mode) is not str or self.mode not in ("min", "max"):
            raise InputError(
                "EarlyStop",
                found=f"patience {shown(self.patience, 20)}, mode {shown(self.mode, 20)}",
                expected='a patience of 1 or more, and "min" or "max"',
            )
        if not isinstance(self.min_delta, int | float) or not 0 <= self.min_delta < inf:
            found = shown(self.min_delta, 20)
            raise InputError("min_delta", found=found, expected="a number, 0 or more")

    def waited(self, values: Iterable[float]) -> int:
        """Return how many evaluations there are since the best, in their order."""
        sign = 1 if self.mode == "min" else -1
        best, waited = inf, 0
        for value in values:
            better = sign * value < best - self.min_delta
            best, waited = (sign * value, 0) if better else (best, waited + 1)
        return waited


class Patience:
    """What was evaluated in a run, before it was stopped too, and whether it is enough."""

    def __init__(self, stop: EarlyStop | None, history: Any):
        self._stop = stop
        self._values: list[float] = []
        if stop is not None:
            name = f"eval_{stop.metric}"
            records = getattr(history, "records", ())
            self._values = [r.metrics[name] for r in records if name in r.metrics]

    def add(self, evaluation: Mapping[str, Any]) -> None:
        """Take in an evaluation, for which the host waits.

        Raises:
            InputError: it has no such metric.
        """
        if self._stop is None:
            return
        if self._stop.metric not in evaluation:
            raise InputError(
                "early_stop",
                found=f"no metric {shown(self._stop.metric, 60)} in what evaluate returns",
                expected=f"one of {', '.join(evaluation)}",
            )
        self._values.append(float(evaluation[self._stop.metric]))

    @property
    def is_new(self) -> bool:
        """Whether it knows of no evaluation yet."""
        return self._stop is not None and not self._values

    @property
    def is_over(self) -> bool:
        """Whether nothing better came for too long."""
        stop = self._stop
        return stop is not None and stop.waited(self._values) >= stop.patience

    def __str__(self) -> str:
        assert self._stop is not None, "asked only where it ended a run"
        count = counted(self._stop.patience, "evaluation")
        return f"{count} found no better {self._stop.metric}"


def warn_without_history(patience: "Patience", step: int) -> None:
    """Warn that a run which is resumed does not know its evaluations."""
    if patience.is_new and step:
        warnings.warn(
            f"early_stop: no evaluation before step {step:,} is known, and patience begins anew; "
            "pass history=read_jsonl(...) of the run",
            stacklevel=3,
        )


def check_early_stop(stop: Any, evaluate: Any, eval_every: int) -> None:
    """Refuse what is not an `EarlyStop`, and one without evaluations.

    Raises:
        InputError: it says which is missing.
    """
    if stop is None:
        return
    check_type("early_stop", stop, EarlyStop, "an EarlyStop, or None")
    if evaluate is None or not eval_every:
        found = "no evaluate" if evaluate is None else "no eval_every"
        cure = "pass evaluate= and eval_every="
        raise InputError("early_stop", found=found, expected="evaluations", cure=cure)
