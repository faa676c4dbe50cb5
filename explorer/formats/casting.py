"""Arrays in parts of bounded size, cast to another dtype on the way, and what that loses."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from explorer.formats.ndarrays import numpy_dtype
from explorer.formats.pieces import Pieces
from explorer.storage.pages import check_there

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Loss", "cast", "parts_of"]

_PART = 1 << 20  # elements of a part: 4 MB of float32


class Loss:
    """What casting lost so far, in one tensor.

    Attributes:
        squares: sum of the squared values.
        squared_errors: sum of the squared differences.
        overflows: finite numbers that became infinite.
        not_finite: NaN and infinities there were before.

    >>> import numpy as np
    >>> loss = Loss()
    >>> _ = cast(np.array([1.0, 1e5], "float32"), np.dtype("float16"), loss)
    >>> loss.overflows
    1
    """

    def __init__(self) -> None:
        self.squares = self.squared_errors = 0.0
        self.overflows = self.not_finite = 0

    @property
    def relative_error(self) -> float:
        """The L2 norm of the differences over that of the values."""
        return (self.squared_errors / self.squares) ** 0.5 if self.squares else 0.0

    def add(self, before: "np.ndarray", after: "np.ndarray") -> None:
        """Take in a part before and after."""
        import numpy as np

        wide = before.astype(np.float64).reshape(-1)
        with np.errstate(invalid="ignore", over="ignore"):
            change = after.astype(np.float64).reshape(-1) - wide
        kept = np.isfinite(wide)
        lost = kept & ~np.isfinite(change)
        self.not_finite += int(kept.size - kept.sum())
        self.overflows += int(lost.sum())
        kept &= ~lost
        if not kept.all():
            wide, change = wide[kept], change[kept]
        self.squares += float(wide @ wide)
        self.squared_errors += float(change @ change)


def cast(array: "np.ndarray", dtype: "np.dtype", loss: Loss | None = None) -> "np.ndarray":
    """Return an array in another dtype."""
    import numpy as np

    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(dtype)
    if loss is not None:
        loss.add(array, found)
    return found


def parts_of(
    array: "np.ndarray | Pieces",
    dtype: str = "",
    loss: Loss | None = None,
    after: "Callable[[np.ndarray], Any] | None" = None,
) -> "Iterator[np.ndarray]":
    """Yield the elements of an array in row-major order, in contiguous parts of 4 MB or a row.

    Args:
        array: or pieces of one.
        dtype: of the parts; that of the array by default.
        loss: takes in what casting loses.
        after: called with each part of the array once it is used.

    >>> import numpy as np
    >>> [part.dtype.name for part in parts_of(np.ones((2, 3)), "float32")]
    ['float32']
    """
    import numpy as np

    wanted = numpy_dtype("", dtype) if dtype else array.dtype
    if isinstance(array, Pieces):
        yield from (cast(part, wanted, loss) for part in array.parts(_PART))
        return
    flat = array if array.ndim and not array.flags.c_contiguous else array.reshape(-1)
    rows = max(1, _PART * len(flat) // max(1, flat.size))
    for start in range(0, len(flat), rows):
        part = flat[start : start + rows]
        check_there(part)
        yield np.ascontiguousarray(cast(part, wanted, loss))
        if after is not None:
            after(part)
