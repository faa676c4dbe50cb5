"""Tensors to be written: what a header needs of each, and its bytes when they are asked for."""

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from explorer import dtypes

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OutgoingTensor"]


class OutgoingTensor(NamedTuple):
    """A tensor of a file to be written; its values are made when its turn comes.

    Attributes:
        name: as the file will spell it.
        dtype: by explorer's name ("bfloat16", "q4_k"); see `explorer.dtypes`.
        shape: of the tensor, the last axis contiguous.
        parts: yields its bytes in order, as contiguous arrays; called once.

    >>> import numpy as np
    >>> OutgoingTensor("bias", "float32", (3,), lambda: iter([np.zeros(3, "float32")])).nbytes
    12
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    parts: "Callable[[], Iterator[np.ndarray]]"

    @property
    def nbytes(self) -> int:
        """Bytes of the file that it takes."""
        return dtypes.find(self.dtype).nbytes(prod(self.shape))
