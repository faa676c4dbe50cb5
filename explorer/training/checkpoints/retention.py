"""Which checkpoints of a run are kept."""

import os
from collections.abc import Mapping
from math import inf, isfinite
from typing import Any, Literal, NamedTuple

from explorer.arguments import check_kinds
from explorer.errors import InputError, check_number, shown

__all__ = ["Best", "Retention", "retention_of"]

Best = tuple[str, Literal["min", "max"]]


class Retention(NamedTuple):
    """Which checkpoints are kept: the newest, one every `period` steps, the best one."""

    newest: int
    period: int | None = None
    best: Best | None = None

    def quality(self, metrics: Mapping[str, float]) -> float:
        """Return the metric that `best` names; the worst value if it was not measured."""
        assert self.best is not None, "asked only where a metric decides"
        name, mode = self.best
        return metrics.get(name, inf if mode == "min" else -inf)

    def measured(self, metrics: Mapping[str, Any] | None) -> dict[str, float] | None:
        """Return the metric to store with a checkpoint; None if it is missing or not finite."""
        if self.best is None or metrics is None or self.best[0] not in metrics:
            return None
        value = float(metrics[self.best[0]])
        return {self.best[0]: value} if isfinite(value) else None

    def improves(
        self, metrics: Mapping[str, Any], best: Mapping[str, float] | None
    ) -> bool:
        """Return whether metrics have a better value than the best that is stored, if any."""
        measured = self.measured(metrics)
        if self.best is None or measured is None:
            return False
        new, old = self.quality(measured), self.quality(best or {})
        return new < old if self.best[1] == "min" else new > old

    def policy(self) -> Any:
        """Return it as Orbax's preservation policy."""
        from orbax.checkpoint import checkpoint_managers as orbax

        kept: list[Any] = [orbax.LatestN(self.newest)]
        if self.period is not None:
            kept.append(orbax.EveryNSteps(self.period))
        if self.best is not None:
            best = orbax.BestN(
                get_metric_fn=self.quality,
                reverse=self.best[1] == "min",
                n=1,
                keep_checkpoints_without_metrics=False,
            )
            kept.append(best)
        return orbax.AnyPreservationPolicy(kept)


def retention_of(
    folder: str | os.PathLike,
    every: int,
    keep: int,
    keep_period: int | None,
    best: Best | None,
) -> Retention:
    """Return which checkpoints are kept, of what `Checkpoints` is given.

    Raises:
        InputError: a number is not positive, or `best` is not a metric and "min" or "max".
    """
    for place, number in (("every", every), ("keep", keep)):
        check_number(place, number)
    check_kinds(("keep_period", keep_period, "a whole number or None"))
    if min(every, keep, 1 if keep_period is None else keep_period) < 1:
        given = f"every={every}, keep={keep}"
        period = "" if keep_period is None else f", keep_period={keep_period}"
        raise InputError(folder, found=given + period, expected="at least 1 of each")
    if best is not None and not _is_metric(best):
        raise InputError(
            folder,
            found=f"best={shown(best, 60)}",
            expected="(METRIC, 'min') or (METRIC, 'max')",
        )
    return Retention(keep, keep_period, best)


def _is_metric(best: Any) -> bool:
    """Return whether it is the name of a metric, and "min" or "max"."""
    pair = best if isinstance(best, tuple | list) and len(best) == 2 else (None, None)
    return all(isinstance(word, str) for word in pair) and pair[1] in ("min", "max")
