"""The chunks of Zarr arrays: how many there may be, and what decoding them may take.

tensorstore ends a decoder once a chunk is longer than it should be. That of Blosc is the
exception: it allocates what the chunk says of itself, which is compared here before.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from explorer.errors import FormatError, printable

__all__ = [
    "Chunks",
    "check_blosc",
    "check_count",
    "codecs_of",
    "is_blosc",
    "number_of",
    "room_for",
    "threads",
    "together",
]

# tensorstore takes ten microseconds and a kilobyte for each
_FEW_CHUNKS, _BYTES_EACH = 20_000, 32
_AT_ONCE = 32  # arrays that are read at a time
# of arrays that are read at a time where they are far larger than their files
_FREE, _TIMES = 16_000_000, 50
_BEFORE_BLOSC = ("bytes", "transpose")


class Chunks(NamedTuple):
    """How many chunks an array has, the bytes of each and of all, and whether Blosc made them.

    Where chunks hold chunks, the number is of the smallest, and the bytes of the largest.
    """

    number: int
    nbytes: int
    total: int
    is_blosc: bool


def number_of(shape: tuple[int, ...], chunk: tuple[int, ...]) -> int:
    """Return how many chunks an array has; 1 where tensorstore refuses them.

    >>> number_of((5, 4), (2, 4))
    3
    """
    if len(shape) != len(chunk) or min(chunk, default=1) < 1:
        return 1
    return prod(-(-size // part) for size, part in zip(shape, chunk, strict=True))


def codecs_of(codecs: list[Any]) -> tuple[list[str], tuple[int, ...]]:
    """Return the names of codecs, and of those inside them, and the smallest chunks.

    The chunks are those of the innermost `sharding_indexed`; () where there is none.

    >>> codecs_of([{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1}}])
    (['bytes', 'zstd'], ())
    """
    names: list[str] = []
    chunk: tuple[int, ...] = ()
    level: list[Any] = list(codecs)
    while level:
        inner: list[Any] = []
        for thing in level:
            if isinstance(thing, dict):
                name, sizes = thing.get("name"), thing.get("chunk_shape")
                names += [name] if isinstance(name, str) else []
                if isinstance(sizes, list) and all(type(size) is int for size in sizes):
                    chunk = tuple(sizes)
                inner += [part for key, part in thing.items() if key != "name"]
            elif isinstance(thing, list):
                inner += thing
            elif thing == "blosc":
                names.append(thing)
        level = inner
    return names, chunk


def is_blosc(folder: str, what: str, codecs: list[str]) -> bool:
    """Return whether Blosc made the chunks themselves.

    Raises:
        FormatError: it made what is inside another codec, where it cannot be compared.

    >>> is_blosc("a", "array 'w'", ["bytes", "blosc"]), is_blosc("a", "array 'w'", ["zstd"])
    (True, False)
    """
    if "blosc" not in codecs:
        return False
    if codecs[-1] != "blosc" or set(codecs[:-1]) - set(_BEFORE_BLOSC):
        raise FormatError(
            folder,
            found=f"{what} is compressed by blosc inside another codec",
            expected="blosc alone, or another codec",
            cure="save the checkpoint again as Orbax does by itself",
        )
    return True


def check_count(folder: str, chunks: Iterable[Chunks], file_bytes: int) -> None:
    """Refuse arrays of so many chunks that their files cannot hold them.

    >>> check_count("a", [Chunks(10**6, 1, 10**6, False)], 400)
    Traceback (most recent call last):
    explorer.errors.FormatError: a: claims 1,000,000 chunks in files of 400 bytes; expected \
at most 20,012; select other tensors
    """
    count, most = (
        sum(chunk.number for chunk in chunks),
        _FEW_CHUNKS + file_bytes // _BYTES_EACH,
    )
    if count > most:
        raise FormatError(
            folder,
            found=f"claims {count:,} chunks in files of {file_bytes:,} bytes",
            expected=f"at most {most:,}",
            cure="select other tensors",
        )


def check_blosc(folder: str, name: str, chunks: Chunks, heads: Iterable[bytes]) -> None:
    """Compare what chunks of Blosc say of themselves with what a chunk is.

    Args:
        folder: the checkpoint, for errors.
        name: of the array.
        chunks: of the array.
        heads: the first sixteen bytes of each.

    Raises:
        FormatError: one says that it is larger.
    """
    for head in heads:
        claimed = int.from_bytes(head[4:8], "little")
        if claimed > chunks.nbytes:
            raise FormatError(
                folder,
                found=f"a chunk of array {printable(name)!r} claims {claimed:,} bytes",
                expected=f"{chunks.nbytes:,}",
                cure="copy the checkpoint again, or take an earlier step",
            )


def room_for(file_bytes: int) -> int:
    """Return the bytes that may be decoded at a time, beside the array they are of.

    >>> room_for(1_000_000)
    66000000
    """
    return _FREE + _TIMES * file_bytes


def threads(chunks: Iterable[Chunks], file_bytes: int) -> int:
    """Return how many chunks may be decoded at a time, of arrays far larger than their files."""
    largest = max((each.nbytes for each in chunks), default=0)
    return max(1, room_for(file_bytes) // max(largest, 1))


def together(chunks: Sequence[Chunks], file_bytes: int) -> Iterator[range]:
    """Yield the indices of arrays in groups that are read at a time.

    The chunks of a group are decoded beside its arrays: together they are small, or not far
    larger than the files, unless one array alone is.

    >>> list(together([Chunks(1, 9, 10**7, False)] * 3, 0))
    [range(0, 1), range(1, 2), range(2, 3)]
    """
    most = room_for(file_bytes)
    start = size = 0
    for at, each in enumerate(chunks):
        if at > start and (at - start == _AT_ONCE or size + each.total > most):
            yield range(start, at)
            start, size = at, 0
        size += each.total
    if start < len(chunks):
        yield range(start, len(chunks))
