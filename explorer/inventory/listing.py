"""What a reader returns: the columns of a header, before they are interpreted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

import msgspec

from explorer.inventory.tensor import Component, Role, Tie
from explorer.paths import Key

__all__ = [
    "Listing",
    "Logical",
    "Numbered",
    "Sharding",
    "compact",
    "firsts_of",
    "number",
    "renumbered",
    "tally",
]

_T = TypeVar("_T")


class Sharding(msgspec.Struct, frozen=True):
    """How a tensor's axes are partitioned over devices, and the bytes on the fullest one."""

    axes: str
    device_nbytes: int | None = None


class Logical(msgspec.Struct, frozen=True):
    """What a packed tensor stands for, where its source says it: shape, dtype, format."""

    shape: tuple[int, ...]
    dtype: str
    rule: str


def number(*columns: Iterable[Any]) -> list[int]:
    """Return a number for each row of parallel columns, from 0 in order of appearance.

    >>> number("abab", [1, 2, 1, 1])
    [0, 1, 0, 2]
    """
    numbers = defaultdict(count().__next__)
    return list(map(numbers.__getitem__, zip(*columns, strict=True)))


def compact(numbers: Sequence[int]) -> Sequence[int]:
    """Return small numbers as bytes, which are counted and renumbered at once.

    >>> compact([0, 1, 0]), compact([0, 256])
    (b'\\x00\\x01\\x00', [0, 256])
    """
    try:
        return bytes(numbers)
    except ValueError:
        return numbers


def renumbered(rows: Sequence[int], new: Sequence[int]) -> Sequence[int]:
    """Return the new number of each row.

    >>> renumbered([0, 1, 0], [7, 500])
    [7, 500, 7]
    """
    if isinstance(rows, bytes) and max(new, default=0) < 256:
        return rows.translate(bytes(new[:256]).ljust(256, b"\0"))
    return list(map(new.__getitem__, rows))


def tally(rows: Sequence[int]) -> dict[int, int]:
    """Return how often each number occurs, in order of appearance.

    >>> tally([1, 1, 0]), tally(bytes([1, 1, 0]))
    ({1: 2, 0: 1}, {1: 2, 0: 1})
    """
    if not isinstance(rows, bytes):
        return dict(Counter(rows))
    found = {}
    while rows:
        number, before = rows[0], len(rows)
        rows = rows.translate(None, bytes([number]))
        found[number] = before - len(rows)
    return found


def firsts_of(rows: Sequence[int]) -> list[int]:
    """Return where each number first appears; they are numbered in that order.

    >>> firsts_of([0, 1, 0, 2])
    [0, 1, 3]
    """
    firsts, at = [], 0
    try:
        while True:
            at = rows.index(len(firsts), at)
            firsts.append(at)
    except ValueError:  # there is no such number
        return firsts


class Numbered(Sequence[_T]):
    """A column of few distinct values: the value of each number, and a number for each row.

    >>> list(Numbered(["float32", "int8"], [0, 1, 0]))
    ['float32', 'int8', 'float32']
    """

    __slots__ = ("numbers", "values")

    def __init__(self, values: list[_T], numbers: Sequence[int]):
        self.values, self.numbers = values, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[_T]:
        return map(self.values.__getitem__, self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return self.values[self.numbers[index]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class Listing(msgspec.Struct):
    """The tensors that a source lists, as parallel columns in the source's order.

    Columns, because a checkpoint may list 10^5 tensors and most formats decode into
    columns faster than into records.

    Attributes:
        format: the kind of source ("safetensors", "gguf v3", "pytorch zip", ...).
        keys: each tensor's exact name: a dotted string, or a tuple of names in a tree.
        shapes: shapes as stored.
        dtypes: dtypes by explorer's name (see explorer.dtypes).
        nbytes: bytes each tensor takes in the file.
        rows: a number for each tensor, from 0 in order of appearance. Tensors of one number
            are equal in all columns, keys aside, whose digits alone differ. None where the
            reader has not numbered them.
        collections: the collection that the source itself gives for each tensor ("params",
            "opt_state", "batch_stats", ...); "" leaves it to names and formats. None
            when the source gives none.
        typed: whether those collections are types or declarations of the source, and not
            the names of the items that hold the tensors.
        ties: keys that the source shows to share one storage, the counted one first.
        shardings: of the tensors that have one.
        roles: what tensors do, where their use was traced; names decide for all others.
            None where nothing was traced.
        components: the part of the network a tensor belongs to, where the source knows more
            than its name says.
        stacks: of tensors whose leading axes stack equal layers: how many, one per axis.
        logical: of packed tensors whose source says what they stand for.
        remarks: notes that only the reader can make, complete sentences.
        file_bytes: size of the files on disk; None where there is no file.
        files: number of files.
        metadata: text that the file carries about itself; never trusted as a count.
    """

    format: str
    keys: list[Key]
    shapes: Sequence[tuple[int, ...]]
    dtypes: Sequence[str]
    nbytes: Sequence[int]
    rows: Sequence[int] | None = None
    collections: list[str] | None = None
    typed: bool = False
    ties: list[Tie] = []
    shardings: dict[Key, Sharding] = {}
    stacks: dict[Key, tuple[int, ...]] = {}
    roles: dict[Key, Role] | None = None
    components: dict[Key, Component] = {}
    logical: dict[Key, Logical] = {}
    remarks: list[str] = []
    file_bytes: int | None = None
    files: int = 0
    metadata: dict[str, str] = {}
