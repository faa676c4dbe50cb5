"""Kernels pruned some outputs at a time, so that one that is mapped from a file need not fit twice.

The masks are those of `prune_tensors`: which entries are pruned does not depend on the pieces.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from explorer.errors import InputError
from explorer.storage.pages import check_there
from explorer.transforms.pruning import scores as by
from explorer.transforms.pruning.kernels import mask_of
from explorer.transforms.pruning.matrices import MatrixView
from explorer.transforms.pruning.patterns import PruneSettings
from explorer.transforms.pruning.planning import check_groups
from explorer.transforms.pruning.selection import Limit, below_limit, limit_of, ordered_bits
from explorer.transforms.running import RunningDistance

__all__ = ["STREAMED", "KernelPruner", "PrunedKernel"]

STREAMED = ("magnitude", "random")  # they need nothing beside the weights
_PIECE = 1 << 22  # elements whose scores are computed at a time

Load = Callable[[str], Any]
Release = Callable[[np.ndarray], Any]


class PrunedKernel:
    """A kernel with zeros, how far it is from what it was, and how many zeros it has."""

    def __init__(self, values: np.ndarray, running: RunningDistance, zeros: int):
        self.values, self.running, self.zeros = values, running, zeros


class KernelPruner:
    """Prunes the kernels of a model in any order.

    Args:
        views: of the kernels, by name, in the order of the source.
        settings: by one of STREAMED.
        load: returns the values of a kernel.
        release: called with pieces that are not needed any more, until they are loaded again.

    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> kernel = np.array([[4.0, 1.0], [3.0, 2.0]], np.float32)
    >>> view = MatrixView((2, 2), (), (0,), (1,))
    >>> settings = PruneSettings(parse_pattern("0.5"))
    >>> KernelPruner({"up": view}, settings, {"up": kernel}.get).pruned("up").values.tolist()
    [[4.0, 0.0], [3.0, 0.0]]
    """

    def __init__(
        self,
        views: Mapping[str, MatrixView],
        settings: PruneSettings,
        load: Load,
        release: Release = lambda piece: None,
    ):
        self._views, self._settings = views, settings
        self._load, self._release = load, release
        self._limits: dict[str, Limit] = {}
        for name, view in views.items():
            check_groups(name, view, settings.pattern)
        if settings.scope == "global":
            self._limits = self._global_limits()

    def pruned(self, name: str) -> PrunedKernel:
        """Return a kernel with zeros.

        Raises:
            InputError: it holds NaN or infinities.
        """
        view, array = self._views[name], np.asarray(self._load(name))
        rows = view.rows(array)
        after = np.empty_like(rows, order="C")
        running, zeros = RunningDistance(), 0
        for place, mask in self._masks(name, rows):
            before = rows[place]
            after[place] = np.where(mask, np.zeros((), rows.dtype), before)
            running.add(before, after[place])
            zeros += before.size - int(np.count_nonzero(after[place]))
            self._done(before)
        return PrunedKernel(np.ascontiguousarray(view.restored(after)), running, zeros)

    def _masks(self, name: str, rows: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield where each piece is in the rows, and its mask."""
        pattern, scope = self._settings.pattern, self._settings.scope
        if self._settings.by == "random" or pattern.kind in ("rows", "columns"):
            scores = self._scores(name, rows)
            if scope == "global":
                mask = next(below_limit([scores], self._limits[name]))
            else:
                mask = mask_of(scores, self._settings)
            yield slice(None), mask
        elif pattern.kind == "n:m" or scope == "group":
            for place in _pieces(rows):
                yield place, mask_of(self._scores(name, rows[place]), self._settings)
        elif scope == "global":
            places = _pieces(rows)
            scores = (self._scores(name, rows[place]) for place in places)
            yield from zip(places, below_limit(scores, self._limits[name]), strict=True)
        else:
            for index in range(len(rows)):
                yield from self._masks_of_matrix(name, rows, index)

    def _masks_of_matrix(
        self, name: str, rows: np.ndarray, index: int
    ) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield the masks of one matrix of a stack, whose entries are compared."""
        places = _pieces(rows, index)

        def passes() -> Iterator[np.ndarray]:
            for place in places:
                yield self._scores(name, rows[place])
                self._done(rows[place])

        number = self._settings.pattern.number(rows[index].size)
        limit = limit_of(passes, number) if number else Limit(0, 0)
        yield from zip(places, below_limit(passes(), limit), strict=True)

    def _global_limits(self) -> dict[str, Limit]:
        """Return the limit of all kernels, with the ties of it that each has."""
        total = sum(v.matrix.stack * v.matrix.size for v in self._views.values())

        def scores(name: str) -> Iterator[np.ndarray]:
            rows = self._views[name].rows(np.asarray(self._load(name)))
            whole = self._settings.by == "random"
            for place in [slice(None)] if whole else _pieces(rows):
                yield self._scores(name, rows[place])
                self._done(rows[place])

        def passes() -> Iterator[np.ndarray]:
            for name in self._views:
                yield from scores(name)

        number = self._settings.pattern.number(total)
        limit = limit_of(passes, number) if number else Limit(0, 0)
        found, left = {}, limit.ties
        for name in self._views:
            equal = sum(int((ordered_bits(s) == limit.bits).sum()) for s in scores(name))
            found[name] = Limit(limit.bits, min(equal, left))
            left -= found[name].ties
        return found

    def _scores(self, name: str, rows: np.ndarray) -> np.ndarray:
        check_there(rows)
        if not np.isfinite(rows).all():
            raise self._not_finite(name)
        if self._settings.by == "random":
            return by.random(rows, name, self._settings.seed)
        return by.magnitude(rows)

    def _not_finite(self, name: str) -> InputError:
        values = np.asarray(self._load(name))
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        what = "NaN" if np.isnan(values[tuple(place)]) else "an infinity"
        return InputError(name, found=f"holds {what} at {place}", expected="finite weights")

    def _done(self, piece: np.ndarray) -> None:
        if piece.flags.c_contiguous:
            self._release(piece)


def _pieces(rows: np.ndarray, index: int | None = None) -> list[Any]:
    """Return where the pieces of some outputs each are, of one matrix of a stack or of all."""
    _, outputs, inputs = rows.shape
    step = max(1, _PIECE // max(inputs, 1))
    return [
        (slice(each, each + 1), slice(first, first + step))
        for each in (range(len(rows)) if index is None else [index])
        for first in range(0, outputs, step)
    ]
