"""The tensors of a side: as they are stored, or made of several stored ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from explorer.paths import Key

if TYPE_CHECKING:
    import numpy as np

    from explorer.values.bounds import Bounds

__all__ = ["Made", "StoredArray"]


class StoredArray(NamedTuple):
    """A tensor of a side: its format and its shape, as its array has it.

    `is_second` is true where its array is known to be that of another key, `is_buffer` where it
    is not a parameter and a model makes it again.
    """

    key: Key
    dtype: str
    shape: tuple[int, ...]
    is_second: bool = False
    is_buffer: bool = False


class Made(Protocol):
    """What makes a tensor of several stored ones."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of the stored tensors."""
        ...

    def array(self, arrays: "Mapping[Key, np.ndarray]") -> "np.ndarray":
        """Return the tensor, made of the arrays of those keys."""
        ...

    def bounds(self, side: Any) -> "Bounds | None":
        """Return between which numbers each element lay, if it is quantised."""
        ...
