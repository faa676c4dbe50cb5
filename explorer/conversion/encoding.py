"""Tensors in ggml's block types: encoded part by part, on all cores, with what each part lost."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from explorer.errors import InputError, printable
from explorer.formats.pieces import Pieces
from explorer.formats.writing import OutgoingTensor
from explorer.storage.pages import check_there
from explorer.transforms.measure import overflow
from explorer.transforms.running import RunningDistance

if TYPE_CHECKING:
    import numpy as np

__all__ = ["check_encoders", "check_finite", "encoded"]

_PART = 1 << 20  # elements that are encoded at a time

Arrays = Callable[[], "Iterator[np.ndarray | Pieces]"]


def check_encoders(kinds: set[str]) -> None:
    """Refuse types that explorer does not encode.

    Raises:
        InputError: it names the first.
    """
    from explorer.transforms.quantisation.ggml import check_encoder

    for kind in sorted(kinds):
        check_encoder(kind)


def encoded(
    place: str,
    name: str,
    shape: tuple[int, ...],
    kind: str,
    arrays: Arrays,
    running: RunningDistance,
    release: "Callable[[np.ndarray], Any]",
) -> OutgoingTensor:
    """Return a tensor to be written in one of ggml's types.

    Args:
        place: what errors call the source.
        name: of the tensor.
        shape: of the tensor.
        kind: the type.
        arrays: yields the tensor, or parts of it along its first axis.
        running: takes in what is lost.
        release: called with each part of an array once it is encoded.
    """

    def encode_rows(item: "tuple[int, np.ndarray]") -> "np.ndarray":
        import numpy as np

        first, rows = item
        check_there(rows)

        from explorer.transforms.quantisation.ggml import decode, encode

        wide = np.ascontiguousarray(rows, dtype=np.float32)
        check_finite(place, name, wide, first, shape)
        blocks = encode(wide, kind)
        if not running.add(wide, decode(blocks, kind, wide.shape[1])):
            raise overflow(place, wide, kind, name)
        release(rows)
        return blocks

    def parts() -> "Iterator[np.ndarray]":
        yield from _in_threads(encode_rows, _numbered(arrays(), shape[-1]))
        running.check(place, kind, name)

    return OutgoingTensor(name, kind, shape, parts)


def _numbered(
    arrays: "Iterator[np.ndarray | Pieces]", width: int
) -> "Iterator[tuple[int, np.ndarray]]":
    """Yield whole rows, some at a time, with the number of the elements before them."""
    first = 0
    for array in arrays:
        for rows in _rows(array, width):
            yield first, rows
            first += rows.size


def _rows(array: "np.ndarray | Pieces", width: int) -> "Iterator[np.ndarray]":
    """Yield whole rows, some at a time."""
    step = max(1, _PART // width)
    if isinstance(array, Pieces):
        blocks = width // array.block
        for first in range(0, array.blocks, step * blocks):
            last = min(first + step * blocks, array.blocks)
            yield array.decode(first, last).reshape(-1, width)
        return
    flat = array if array.ndim == 2 else array.reshape(-1, width)
    for first in range(0, len(flat), step):
        yield flat[first : first + step]


def _in_threads(
    function: "Callable[[Any], np.ndarray]", items: "Iterator[Any]"
) -> "Iterator[np.ndarray]":
    """Yield results in order; no more are under way than there are cores."""
    cores = _cores()
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # a system without it
        return os.cpu_count() or 1


def check_finite(
    place: str, name: str, rows: "np.ndarray", first: int, shape: tuple[int, ...]
) -> None:
    """Refuse weights that are not finite; the error says where the first is.

    Args:
        place: what errors call the source.
        name: of the tensor.
        rows: some of it.
        first: how many of its elements are before them.
        shape: of the tensor.

    Raises:
        InputError: some are not.
    """
    import numpy as np

    with np.errstate(over="ignore"):
        if np.isfinite(rows.sum(dtype=np.float64)):
            return
    is_wrong = ~np.isfinite(rows)
    if not is_wrong.any():
        return  # their sum alone is beyond float64
    at = int(is_wrong.argmax())
    index = ", ".join(str(each) for each in np.unravel_index(first + at, shape))
    value = "NaN" if np.isnan(rows.reshape(-1)[at]) else "an infinity"
    raise InputError(
        place,
        found=f"{printable(name, 100)} holds {value} at [{index}]",
        expected="finite weights, which alone can be quantised",
        cure="explorer stats --check names them all",
    )
