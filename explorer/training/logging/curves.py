"""The steps of a run as records, and the curves of their numbers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from explorer.roles.names import classify

__all__ = [
    "STACKED",
    "Curve",
    "Run",
    "StepRecord",
    "component_of",
    "depth_of",
    "joined_curve",
    "layer_of",
    "metric_curve",
    "metric_names",
    "smoothed",
    "spans_decades",
    "watched_curve",
]  # fmt: skip

# the end of the name of a part of a stacked tensor
STACKED = re.compile(r"\[([0-9]+)(?:,[0-9]+)*\]$")
_LENGTHS = ("norm", "grad_norm", "distance")


class StepRecord(msgspec.Struct, frozen=True, eq=False):
    """One step: its number, its metrics and, where it was watched, float32 [rows, columns]."""

    step: int
    metrics: Mapping[str, float]
    watch: np.ndarray | None = None


class Run(NamedTuple):
    """The steps of a run, and the names of the rows and columns of what is watched."""

    records: Sequence[StepRecord]
    rows: Sequence[str]
    columns: Sequence[str]


class Curve(NamedTuple):
    """The numbers of steps, and values [steps], or [steps, names] of several curves."""

    steps: np.ndarray
    values: np.ndarray


def metric_names(records: Iterable[StepRecord]) -> list[str]:
    """Return the names of all metrics, the loss first.

    >>> metric_names([StepRecord(1, {"grad_norm": 1.0, "loss": 2.0}), StepRecord(2, {"accuracy": 0.5})])
    ['loss', 'grad_norm', 'accuracy']
    """
    names = dict.fromkeys(name for record in records for name in record.metrics)
    return sorted(names, key="loss".__ne__)


def metric_curve(records: Iterable[StepRecord], name: str) -> Curve:
    """Return the values of a metric where steps have it.

    >>> metric_curve([StepRecord(1, {"loss": 2.0}), StepRecord(2, {})], "loss")
    Curve(steps=array([1]), values=array([2.]))
    """
    found = [(r.step, r.metrics[name]) for r in records if name in r.metrics]
    steps, values = zip(*found, strict=True) if found else ((), ())
    return Curve(np.array(steps, int), np.array(values, float))


def smoothed(values: np.ndarray) -> np.ndarray:
    """Return means over a fiftieth of the steps around each; near the ends, over fewer.

    As many come after a step as before it, so that the first value, from which a loss falls
    steeply, stays what it is; the last one, which is noise, is a mean of those before it.

    >>> smoothed(np.arange(200.0))[[0, 1, 100, 199]].tolist()
    [0.0, 1.0, 100.0, 198.0]
    """
    at = np.arange(len(values))
    half = np.minimum(len(values) // 100, at)
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    start, end = at - half, np.minimum(at + half + 1, len(values))
    number = counts[end] - counts[start]
    with np.errstate(invalid="ignore"):
        return np.where(number > 0, (sums[end] - sums[start]) / number, np.nan)


def spans_decades(curves: Iterable[Curve]) -> bool:
    """Return whether curves are above 0 and so far from each other that their logarithms show more.

    >>> spans_decades([Curve(np.arange(2), np.array([0.1, 5.0]))])
    True
    """
    values = np.concatenate([np.empty(0), *(curve.values for curve in curves)])
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() > 20 * values.min())


def watched_curve(records: Iterable[StepRecord], column: int, rows: Sequence[int]) -> Curve:
    """Return the values of some rows of a column where steps were watched."""
    found = [(r.step, r.watch[rows, column]) for r in records if r.watch is not None]
    steps, values = zip(*found, strict=True) if found else ((), ())
    table = np.array(values, np.float32).reshape(len(steps), len(rows))
    return Curve(np.array(steps, int), table)


def joined_curve(
    run: Run, column: str, group_of: Callable[[str], str]
) -> tuple[tuple[str, ...], Curve]:
    """Return the groups of rows, in the order of the rows, and the curve of each as one.

    The norm of a group is that of its tensors laid end to end, its update ratio that of two
    such norms; any other column is the mean of its tensors.

    Args:
        run: the steps and the names.
        column: one of the run's.
        group_of: returns the name of a row's group.
    """
    records, rows, columns = run
    found = list(map(group_of, rows))
    groups = tuple(dict.fromkeys(found))
    members = [[n for n, name in enumerate(found) if name == group] for group in groups]

    def curve_of(name: str) -> np.ndarray:
        curve = watched_curve(records, columns.index(name), range(len(rows)))
        return curve.values.astype(float)

    def joined(values: np.ndarray) -> np.ndarray:
        # no matrix product: a NaN would spread over all groups
        return np.stack([values[:, rows].sum(1) for rows in members], 1)

    values = curve_of(column)
    known = np.isfinite(values)
    if column in _LENGTHS:
        values = np.sqrt(joined(values**2))
    elif column == "update_ratio" and "norm" in columns:
        # a tensor of zeros has no ratio, and what it is moved by is not known
        norms = curve_of("norm")
        known &= np.isfinite(norms)
        updates = np.where(known, values, 0) * np.where(known, norms, 0)
        whole = np.sqrt(joined(norms**2))
        values = _ratio(np.sqrt(joined(updates**2)), whole, 0.0)
    else:
        values = _ratio(joined(np.where(known, values, 0)), joined(known), np.nan)
    steps = np.array([record.step for record in records if record.watch is not None], int)
    return groups, Curve(steps, values)


def _ratio(parts: np.ndarray, wholes: np.ndarray, otherwise: float) -> np.ndarray:
    """Return quotients, and a number where there is nothing to divide by."""
    found = np.full(parts.shape, otherwise)
    with np.errstate(invalid="ignore"):
        return np.divide(parts, wholes, out=found, where=wholes != 0)


def layer_of(row: str) -> str:
    """Return the layer that a row belongs to: down to the first number, or the first name.

    >>> [layer_of(row) for row in ("layers_7/mlp/bias", "h/3/bias", "blocks/bias[5]", "embed/table")]
    ['layers_7', 'h/3', 'blocks[5]', 'embed']
    """
    names = row.removeprefix("params/").split("/")
    stacked = STACKED.search(row)
    if stacked:
        return f"{STACKED.sub('', names[0])}[{stacked[1]}]"
    for end, name in enumerate(names[:-1], start=1):
        if name[-1:].isdecimal():
            return "/".join(names[:end])
    return names[0]


def depth_of(layer: str) -> int:
    """Return 0 for an embedding, 1 for a layer with a number, 2 for what is after these.

    >>> depth_of("embed"), depth_of("layers_7"), depth_of("final_norm")
    (0, 1, 2)
    """
    if layer[-1:].isdecimal() or layer.endswith("]"):
        return 1
    return 0 if component_of(f"{layer}/kernel") == "embedding" else 2


def component_of(row: str) -> str:
    """Return the part of a network that a row belongs to, as its name tells.

    >>> component_of("layers_7/attention/query/kernel"), component_of("blocks/mlp/up/kernel[3]")
    ('attention', 'mlp')
    """
    return classify(tuple(STACKED.sub("", row).split("/")), (1, 1))[1]
