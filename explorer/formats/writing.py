"""Tensors to be written: what a header needs of each, and its bytes when they are asked for."""

from collections.abc import Callable, Iterator
from math import prod
from typing import IO, TYPE_CHECKING, NamedTuple

from explorer import dtypes
from explorer.errors import InputError, printable

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OutgoingTensor", "write_parts"]


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


def write_parts(
    out: IO[bytes],
    place: str,
    tensor: OutgoingTensor,
    done: Callable[[int], object] | None = None,
) -> None:
    """Write the bytes of a tensor, part by part.

    Args:
        out: the file.
        place: what errors call it.
        tensor: whose parts are taken.
        done: called with the bytes of each part that was written.

    Raises:
        InputError: there are more or fewer bytes than its dtype and its shape take.
        OSError: the file cannot be written.
    """
    import numpy as np

    written = 0
    for part in tensor.parts():
        written += part.nbytes
        if written > tensor.nbytes:
            break
        out.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        if done is not None:
            done(part.nbytes)
    if written != tensor.nbytes:
        raise InputError(
            place,
            found=f"{printable(tensor.name, 100)} has {written:,} bytes or more",
            expected=f"{tensor.nbytes:,} for {tensor.dtype} {list(tensor.shape)}",
            cure="its source changed while it was read: run again",
        )
