"""What a file may claim and cost, by its bytes: the one check before any library is called.

A shape is a claim. NumPy, tensorstore and XLA raise errors of their own, or abort the process, for
more axes or more bytes than they can address, also where an axis of zero leaves no element.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod

from explorer.errors import FormatError
from explorer.paths import Key, path_of

__all__ = [
    "MAX_RANK",
    "check_names",
    "check_shape",
    "most_tensors",
    "shape_fault",
    "within_memory",
]

MAX_RANK = 64  # NumPy's own limit; it keeps the product of a claimed shape small
_ADDRESSED = 1 << 63  # bytes
# A tensor of a listing takes one or two kilobytes; formats take 32 bytes of a file or more.
_FEW_TENSORS, _BYTES_EACH = 30_000, 32
MAX_PARTS = 256  # of a name, each of which is a level of the tree that is shown


def shape_fault(shape: Iterable[int], item: int = 1) -> str:
    """Return why no array library can hold a shape; "" where one can.

    Args:
        shape: the sizes, which are natural numbers.
        item: bytes of an element.

    >>> shape_fault((0, 1 << 62), 4)
    'more than 2^63 bytes without its axes of zero'
    >>> shape_fault([1] * 65), shape_fault((2, 0))
    ('65 axes, more than 64', '')
    """
    sizes = tuple(shape)
    if len(sizes) > MAX_RANK:
        return f"{len(sizes):,} axes, more than {MAX_RANK}"
    if max(sizes, default=0) >= _ADDRESSED:  # the product of such could not be printed
        return "an axis of 2^63 or more"
    if prod(size for size in sizes if size) * max(item, 1) < _ADDRESSED:
        return ""
    return f"more than 2^63 bytes{' without its axes of zero' if 0 in sizes else ''}"


def check_shape(place: str, what: str, shape: Iterable[int], item: int = 1) -> None:
    """Refuse a shape that no array library can hold.

    >>> check_shape("a.npy", "the array", (1 << 63,))
    Traceback (most recent call last):
    explorer.errors.FormatError: a.npy: the array has an axis of 2^63 or more; expected at most 64 axes and 2^63 bytes
    """
    if fault := shape_fault(shape, item):
        raise FormatError(
            place,
            found=f"{what} has {fault}",
            expected=f"at most {MAX_RANK} axes and 2^63 bytes",
        )


def most_tensors(file_bytes: int) -> int:
    """Return how many tensors a file of so many bytes may list.

    >>> most_tensors(3_200_000)
    130000
    """
    return _FEW_TENSORS + file_bytes // _BYTES_EACH


def check_names(place: str, keys: Iterable[Key]) -> None:
    """Refuse a name of more parts than a tree has levels.

    >>> check_names("a.safetensors", ["layers.0.weight", "a." * 999 + "b"])
    Traceback (most recent call last):
    explorer.errors.FormatError: a.safetensors: has a name of 1,000 parts; expected at most 256
    """
    for key in keys:
        # a part and its separator are two characters, of "a..b" one
        if len(key) > MAX_PARTS and (parts := len(path_of(key))) > MAX_PARTS:
            raise FormatError(
                place,
                found=f"has a name of {parts:,} parts",
                expected=f"at most {MAX_PARTS}",
            )


@contextmanager
def within_memory(place: str) -> Iterator[None]:
    """Say in one line what Python raises where memory, or its stack, is used up.

    >>> with within_memory("a.npz"):
    ...     raise MemoryError
    Traceback (most recent call last):
    explorer.errors.FormatError: a.npz: needs more memory than there is; select fewer tensors
    """
    try:
        yield
    except MemoryError:
        raise FormatError(
            place, found="needs more memory than there is", cure="select fewer tensors"
        ) from None
    except RecursionError:
        raise FormatError(
            place, found="is nested too deeply", cure="fetch or write the file again"
        ) from None
