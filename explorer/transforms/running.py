"""How far a tensor is from what it was, added up part by part."""

from math import log10
from threading import Lock
from typing import TYPE_CHECKING, Any

from explorer.transforms.measure import Distance, check_kept

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RunningDistance"]

_SUMS = ("count", "changed", "sum_abs", "aa", "bb", "dd", "ab", "ad")


class RunningDistance:
    """Adds up the parts of one tensor; threads may add at once.

    >>> import numpy as np
    >>> running = RunningDistance()
    >>> running.add(np.array([3.0]), np.array([3.0]))
    True
    >>> running.add(np.array([4.0]), np.array([4.5]))
    True
    >>> running.distance.relative_error, running.distance.snr
    (0.1, 20.0)
    """

    def __init__(self) -> None:
        self._all: Any = None
        self._lock = Lock()

    def add(self, before: "np.ndarray", after: "np.ndarray") -> bool:
        """Take in a part, of equal shapes; return whether both are finite in the same places."""
        from explorer.values.changes import Changes, changes_of

        found = changes_of(before, after, is_part=True)
        with self._lock:
            total = self._all = self._all or Changes()
            for name in _SUMS:
                setattr(total, name, getattr(total, name) + getattr(found, name))
            total.max_abs = max(total.max_abs, found.max_abs)
        return not found.gaps

    @property
    def distance(self) -> Distance | None:
        """How far the whole tensor is from what it was; None where nothing was added."""
        if self._all is None:
            return None
        error = self._all.relative_l2
        snr = -20 * log10(error) if error else None
        return Distance(error, snr, self._all.cosine, self._all.max_abs)

    def check(self, place: str, scheme: str, name: str) -> None:
        """Refuse a tensor as `check_kept` does, once all of it was added."""
        check_kept(place, self.distance, scheme, name)
