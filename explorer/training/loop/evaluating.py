"""Metrics of a whole set: every example once, whatever the sizes of its batches."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import jax
import numpy as np

from explorer.errors import InputError, check_number, check_type, shown
from explorer.training.data.batches import Batches, Source, check_source, pair_of
from explorer.training.data.loaders import as_arrays
from explorer.training.loop.arguments import check_state, iterator_of
from explorer.training.loop.joint_batches import joint_batches
from explorer.training.step.state import TrainState
from explorer.training.step.weighted import Weighted
from explorer.tree.types import Batch

__all__ = ["Epoch", "Evaluates", "evaluate"]

_FETCHED = 64  # batches whose metrics are brought to the host together


class Evaluates(Protocol):
    """What `evaluate` needs of a `Trainer`."""

    @property
    def eval_totals(self) -> Any:
        """Return `Weighted` metrics of a state and a batch."""
        ...


class Epoch:
    """Every example of a source once and in order, anew each time it is iterated over.

    The last batch is smaller where the batches do not divide the examples.

    Args:
        source: the examples, such as `Arrays` or `Windows`.
        size: examples of one batch, over all processes.
        part: the index of this process and their number; each gets its rows of every batch,
            which may be none of the last one.

    Raises:
        InputError: no example, a size below 1, or one that the processes do not divide.

    >>> from explorer.training import Arrays
    >>> [batch.tolist() for batch in Epoch(Arrays(np.arange(5)), 2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, source: Source, size: int, *, part: tuple[int, int] = (0, 1)):
        check_source(source)
        check_number("size", size)
        self._index, self._parts = pair_of(part)
        if min(size, self._parts) < 1 or size % self._parts:
            wanted = "1 or more" if self._parts == 1 else "some that the processes divide"
            found = f"{size} examples" + f" of {self._parts} processes" * (self._parts != 1)
            raise InputError("size", found=found, expected=wanted)
        self._source, self._size = source, size

    def __len__(self) -> int:
        return sum(1 for _ in self._rows())

    def __iter__(self) -> Iterator[Any]:
        for first, end in self._rows():
            yield self._source[np.arange(first, end)]

    def _rows(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the end of the rows of this process, of each batch."""
        for start in range(0, len(self._source), self._size):
            count = min(self._size, len(self._source) - start)
            first, end = (
                start + number * count // self._parts
                for number in (self._index, self._index + 1)
            )
            if first < end:
                yield first, end


def evaluate(
    trainer: Evaluates, state: TrainState, batches: Iterable[Batch]
) -> dict[str, float]:
    """Return the loss and the metrics over all examples of some batches, which end.

    Means count by their weight: a `Weighted` one by its own, such as the number of tokens; a
    plain metric beside a `Weighted` loss by that of the loss, as a mean over the same; any
    other by the number of examples. So the batches may be of any size, on a mesh too: what its
    devices cannot share, such as a last batch, is computed by each of them. Totals are joined
    in float64.

    Over several processes all make the same call and return the same figures. Each gives the
    batches of its own examples, of any number: where one has more than another, or of another
    size, they are sent to all and computed by all.

    Args:
        trainer: a `Trainer`.
        state: it is not changed.
        batches: a list, an `Epoch` (with `part=` over several processes), or anything else
            that ends.

    Raises:
        InputError: there are none, or they never end, as `Batches` do not, or are one batch; or
            a process has none, or those of another structure than another process.

    >>> import jax.numpy as jnp, optax
    >>> from explorer.models.small import LinearRegression
    >>> from explorer.training import Arrays, Trainer
    >>> model, x = LinearRegression(), np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    >>> def loss_fn(params, batch, context):
    ...     return jnp.square(model.apply({"params": params}, batch) * 0 - batch).mean()
    >>> trainer = Trainer(model, loss_fn, optax.sgd(0.5))
    >>> state = trainer.init(jax.random.key(0), x)
    >>> evaluate(trainer, state, Epoch(Arrays(x), 2))  # 0.5 = 2.5 / 5
    {'loss': 0.5}
    """
    step: Any = getattr(trainer, "eval_totals", None)
    if not callable(step):
        check_type("trainer", trainer, (), "a Trainer")
    check_state(state)
    if isinstance(batches, Batches):
        raise InputError(
            "batches",
            found="Batches, which never end",
            expected="batches that end",
            cure="pass Epoch(source, size)",
        )
    totals: dict[str, tuple[float, float]] = {}
    waiting: list[dict[str, Weighted]] = []
    for batch in joint_batches(as_arrays(iterator_of(batches)), state):
        found: Any = step(state, batch)
        waiting.append(found)
        if len(waiting) == _FETCHED:
            _add(totals, waiting)
    _add(totals, waiting)
    if not totals:
        raise InputError("batches", found="none", expected="at least one")
    return {
        name: total / weight if weight else np.nan
        for name, (total, weight) in totals.items()
    }


def _add(
    totals: dict[str, tuple[float, float]], waiting: list[dict[str, Weighted]]
) -> None:
    """Bring metrics to the host and add them, so that none is left to wait for."""
    for metrics in jax.device_get(waiting):
        if totals and totals.keys() != metrics.keys():
            raise InputError(
                "loss_fn",
                found=f"metrics {shown(sorted(metrics), 60)}",
                expected=f"those of the first batch, {shown(sorted(totals), 60)}",
            )
        for name, value in metrics.items():
            total, weight = totals.get(name, (0.0, 0.0))
            totals[name] = (total + float(value.total), weight + float(value.weight))
    waiting.clear()
