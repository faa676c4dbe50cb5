"""Examples in memory or in a mapped file, and batches that can be resumed at any position."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self

import jax
import numpy as np
import numpy.typing as npt

from explorer.arguments import check_kinds
from explorer.errors import (
    InputError,
    TreeError,
    check_number,
    check_path,
    check_type,
    shown,
)
from explorer.storage.local import LOCAL
from explorer.training.data.order import permute
from explorer.tree.arrays import check_arrays, check_not_donated

__all__ = [
    "Arrays",
    "Batches",
    "Source",
    "Windows",
    "check_source",
    "map_tokens",
    "pair_of",
]


class Source(Protocol):
    """Examples by index."""

    def __len__(self) -> int:
        """Return how many examples there are."""
        ...

    def __getitem__(self, indices: np.ndarray) -> Any:
        """Return the examples at these indices, stacked along a new first axis."""
        ...


class Arrays:
    """Examples held in memory: row i of every array of a tree is example i.

    >>> Arrays({"x": np.arange(6).reshape(3, 2), "y": np.arange(3)})[np.array([2])]
    {'x': array([[4, 5]]), 'y': array([2])}

    Raises:
        InputError: no array, no example, or arrays of different lengths.
    """

    def __init__(self, arrays: Any, place: str = "data"):
        check_arrays(place, arrays)
        check_not_donated(place, arrays)
        check_type("place", place, str, "a str")
        try:
            self._arrays = jax.tree.map(np.asarray, arrays)
        except jax.errors.JAXTypeError:
            raise TreeError(
                place, found="holds a traced array", expected="values"
            ) from None
        paths = jax.tree_util.tree_flatten_with_path(self._arrays)[0]
        lengths = {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape[:1]
            for path, leaf in paths
        }
        names = list(lengths)
        if not names or () in lengths.values() or (0,) in lengths.values():
            raise InputError(
                place,
                found="holds no example",
                expected="arrays with at least one row",
            )
        for name in names:
            if lengths[name] != lengths[names[0]]:
                raise InputError(
                    place,
                    found=f"{lengths[names[0]][0]} rows in {names[0]}, "
                    f"{lengths[name][0]} in {name}",
                    expected="the same number, one row an example",
                )
        self._length = lengths[names[0]][0]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, indices: np.ndarray) -> Any:
        return jax.tree.map(lambda array: array[indices], self._arrays)


class Windows:
    """Windows of `length` + 1 tokens of one long row, in memory or mapped from a file.

    Neighbours share one token: the last target of one is the first input of the next, so
    that every token but the first is a target exactly once.

    >>> Windows(np.arange(7), 3)[np.array([0, 1])].tolist()
    [[0, 1, 2, 3], [3, 4, 5, 6]]

    Raises:
        InputError: fewer tokens than one window has, or tokens that are not integers.
    """

    def __init__(self, tokens: npt.ArrayLike, length: int, place: str = "tokens"):
        check_number("length", length)
        try:
            tokens = np.asarray(tokens)
        except ValueError:
            wanted, found = "integers in one row", "rows of different lengths"
            raise InputError(place, found=found, expected=wanted) from None
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
            raise InputError(
                place,
                found=f"{tokens.dtype} of shape {tokens.shape}",
                expected="integers in one row",
            )
        if length < 1 or tokens.size < length + 1:
            raise InputError(
                place,
                found=f"{tokens.size:,} tokens for windows of {length:,} + 1",
                expected="at least one window",
                cure="give more text, or a shorter length",
            )
        self._tokens, self._length = tokens, length

    def __len__(self) -> int:
        return (self._tokens.size - 1) // self._length

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        starts = np.asarray(indices)[:, None] * self._length
        return self._tokens[starts + np.arange(self._length + 1)].astype(np.int32)


def map_tokens(path: str | os.PathLike, dtype: str = "uint16") -> np.ndarray:
    """Return the tokens of a raw binary file, memory-mapped.

    Args:
        path: a file such as `tokens.astype("uint16").tofile(path)` writes.
        dtype: uint8, uint16 or uint32, little-endian.

    Raises:
        TargetError: there is no such file, or it cannot be read.
        InputError: it is empty, or not a whole number of tokens, or `dtype` is another.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.array([3, 1, 2], "uint16").tofile(f"{folder}/tokens.bin")
    ...     map_tokens(f"{folder}/tokens.bin").tolist()
    [3, 1, 2]
    """
    check_path("path", path)
    if not isinstance(dtype, str) or dtype not in ("uint8", "uint16", "uint32"):
        raise InputError(
            path, found=f"tokens of {shown(dtype, 60)}", expected="uint8, uint16, uint32"
        )
    stored = np.dtype(dtype).newbyteorder("<")
    with LOCAL.blob(os.fspath(path)) as blob:
        size = blob.size()
        if size == 0 or size % stored.itemsize:
            raise InputError(
                path,
                found=f"has {size:,} bytes",
                expected=f"tokens of {stored.itemsize} bytes each",
            )
        return np.frombuffer(blob.map(), stored).view(np.memmap)


def pair_of(part: Any) -> tuple[int, int]:
    """Return a part's index and how many there are."""
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise TreeError("part", found=shown(part, 60), expected="(index, parts)")
    check_number("part[0]", part[0])
    check_number("part[1]", part[1])
    if not 0 <= part[0] < max(part[1], 1):
        wanted = "(index, parts), with an index below the parts"
        raise InputError("part", found=shown(part, 60), expected=wanted)
    return part[0], part[1]


class Batches(Iterator[Any]):
    """An endless iterator of batches: every example once per epoch, in an order of its own.

    No example is dropped at an epoch's end: a batch may span two epochs.

    Args:
        source: the examples.
        size: examples of one step, over all processes.
        seed: of the order, at least 0.
        shuffle: whether to shuffle; else every epoch is in the order of the source.
        steps_per_call: of the `Trainer`; above 1, so many batches along a new first axis.
        part: the index of this process and their number; each gets its rows of every batch.
        place: called on each batch before it is returned, to put it on devices for example.

    Raises:
        InputError: no example, sizes below 1, or a batch that processes cannot share.

    >>> batches = Batches(Arrays(np.arange(4)), 3, shuffle=False)
    >>> next(batches).tolist(), next(batches).tolist()
    ([0, 1, 2], [3, 0, 1])
    >>> batches.state()
    {'seed': 0, 'examples': 4, 'epoch': 1, 'position': 2}
    """

    def __init__(
        self,
        source: Source,
        size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        steps_per_call: int = 1,
        part: tuple[int, int] = (0, 1),
        place: Callable[[Any], Any] | None = None,
    ):
        check_number("size", size)
        check_number("steps_per_call", steps_per_call)
        check_number("seed", seed)
        index, parts = pair_of(part)
        if place is not None:
            check_kinds(("place", place, "a function"))
        if min(size, steps_per_call, parts, seed + 1) < 1 or size % parts:
            raise InputError(
                "batch",
                found=f"{size} examples, {steps_per_call} steps a call, seed {seed}, "
                f"for {parts} processes",
                expected="positive sizes, and a batch that the processes divide",
            )
        check_source(source)
        self._source, self._size, self._calls = source, size, steps_per_call
        self._seed, self._shuffle, self._place = seed, shuffle, place
        self._rows = slice(index * size // parts, (index + 1) * size // parts)
        self._drawn = 0

    @property
    def steps_per_call(self) -> int:
        """How many batches are stacked along a first axis; 1 for one without that axis."""
        return self._calls

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        drawn = np.arange(self._drawn, self._drawn + self._size * self._calls)
        self._drawn += drawn.size
        mine = drawn.reshape(self._calls, self._size)[:, self._rows]
        batch = self._source[self._numbers(mine.reshape(-1))]
        if self._calls > 1:
            batch = jax.tree.map(lambda a: a.reshape(*mine.shape, *a.shape[1:]), batch)
        return batch if self._place is None else self._place(batch)

    def _numbers(self, drawn: np.ndarray) -> np.ndarray:
        """Return the indices of examples by their positions in the sequence of all epochs."""
        epochs, positions = np.divmod(drawn, len(self._source))
        if not self._shuffle:
            return positions
        for epoch in np.unique(epochs):
            now = epochs == epoch
            positions[now] = permute(
                positions[now], len(self._source), self._seed, int(epoch)
            )
        return positions

    def state(self) -> dict[str, int]:
        """Return the position: numbers that JSON holds."""
        epoch, position = divmod(self._drawn, len(self._source))
        whole = {"seed": self._seed, "examples": len(self._source)}
        return whole | {"epoch": epoch, "position": position}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go to a position that `state` returned.

        Raises:
            InputError: it is of another order, or of other data.
        """
        own = self.state()
        numbers = {name: state.get(name) for name in own}
        same = all(numbers[name] == own[name] for name in ("seed", "examples"))
        epoch, position = numbers["epoch"], numbers["position"]
        if not (same and isinstance(epoch, int) and isinstance(position, int)):
            raise InputError(
                "data position",
                found=f"seed {numbers['seed']}, {numbers['examples']} examples",
                expected=f"seed {own['seed']}, {own['examples']} examples, as in this run",
                cure="resume with the data that the run began with",
            )
        self._drawn = epoch * own["examples"] + position


def check_source(source: Any) -> None:
    """Refuse what gives no examples by their numbers, or has none."""
    is_source = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    if not is_source or isinstance(source, list | tuple | Mapping):
        raise InputError(
            "data",
            found=type(source).__name__,
            expected="a source of examples",
            cure="pass Arrays(...) or Windows(...)",
        )
    if len(source) < 1:
        raise InputError("data", found="holds no example", expected="at least one example")
