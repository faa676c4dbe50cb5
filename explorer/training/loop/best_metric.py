"""The metric that decides which checkpoint is best: that it is measured, and is better."""

from explorer.errors import InputError, shown
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.loop.metric_queue import NOT_KEPT, StepCall

__all__ = ["check_best", "is_better"]


def check_best(checkpoints: Checkpoints | None, call: StepCall, evaluates: bool) -> None:
    """Refuse a metric of `best` that a run does not measure, as soon as that is known.

    Args:
        checkpoints: of the run, or None.
        call: one whose evaluation was made, where evaluations are.
        evaluates: whether the run evaluates at all.

    Raises:
        InputError: the metrics that it does measure are named.
    """
    if checkpoints is None or checkpoints.best is None:
        return
    wanted = checkpoints.best[0]
    of_steps = [name for name in call.metrics if name not in NOT_KEPT]
    measured = [*of_steps, *(f"eval_{name}" for name in call.evaluation)]
    is_awaited = evaluates and not call.evaluation and wanted.startswith("eval_")
    if wanted not in measured and not is_awaited:
        raise InputError(
            "Checkpoints(best=)",
            found=f"a metric {shown(wanted, 60)}, which is not measured",
            expected=f"one of {', '.join(sorted(measured))}",
            cure="" if evaluates else "pass evaluate= for those of an evaluation, eval_...",
        )


def is_better(checkpoints: Checkpoints, call: StepCall) -> bool:
    """Return whether an evaluation is better than those of all checkpoints, by that metric."""
    if checkpoints.best is None or not call.evaluation:
        return False
    return checkpoints.improves(
        {f"eval_{n}": value for n, value in call.evaluation.items()}
    )
