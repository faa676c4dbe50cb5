"""A target -> its arrays, one after the other: of a file no more at a time than memory allows."""

from collections.abc import Callable, Container, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from explorer import dtypes
from explorer.errors import TreeError
from explorer.inventory.inventory import Inventory
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.paths import Key, matches, name_of
from explorer.targets.inventories import inventory_of
from explorer.targets.packed import PackedWeight, packed_weights
from explorer.targets.records import Checkpoint, Target, Tree
from explorer.targets.unchanged import Unchanged
from explorer.targets.valueless import no_values

if TYPE_CHECKING:
    from explorer.values.describe import NamedValues

__all__ = ["Progress", "tied_notes", "values_of"]

Progress = Callable[[int, int], object]

_WORDS = ("is_parameter", "is_own", "role", "component")  # that the inventory says
_AT_A_TIME = 1 << 28  # bytes of float32, which block formats become


def values_of(
    target: Target,
    select: str | None = None,
    in_pieces: bool = False,
    known: "Mapping[Key, NamedValues] | None" = None,
    progress: Progress | None = None,
    tied_too: bool = False,
    keys: Container[Key] | None = None,
) -> "Iterator[NamedValues]":
    """Yield the arrays of a target with their keys, in the order of its source.

    Args:
        target: a checkpoint, or a tree of arrays.
        select: a glob over paths; None for all.
        in_pieces: whether tensors of block formats may come as `Pieces`, decoded when asked.
        known: of a checkpoint, what is given in the place of tensors, which are then not read.
        progress: called with the elements that were read, and those of all tensors.
        tied_too: of a checkpoint, whether second tensors come too that are stored in full though
            the model ties them.
        keys: of the tensors that are wanted, beside what `select` says; None for all.

    Raises:
        InputError: a target without values, or nothing that matches; when all were given, that
            a file was written meanwhile.
    """
    if select is not None:
        check_glob(select)
    match target:
        case Checkpoint(path):
            inventory = inventory_of(target)
            tied = _tied(inventory) if tied_too else {}
            wanted = _selected(inventory, path, select, tied, keys)
            files = _of_file(target, inventory, wanted, in_pieces, known or {}, progress)
            return (each._replace(tied_to=tied.get(each.key)) for each in files)
        case Tree():
            return _of_tree(target, select, keys)
    raise no_values(target)


def tied_notes(target: Target, select: str | None = None) -> tuple[str, ...]:
    """Return what says which tensors of a target are stored in full though the model ties them.

    Args:
        target, select: as of `values_of`.
    """
    if not isinstance(target, Checkpoint):
        return ()
    return tuple(
        f"{name_of(key)}: stored, and tied to {name_of(first)}: left out"
        for key, first in _tied(inventory_of(target)).items()
        if select is None or matches(key, select)
    )


def _tied(inventory: Inventory) -> dict[Key, Key]:
    """Return the first of each tie by its second tensors that have a storage of their own."""
    ties = [tie for tie in inventory.ties if not tie.shown]
    return {key: tie.keys[0] for tie in ties for key in tie.keys[1:]}


def _selected(
    inventory: Inventory,
    place: str,
    select: str | None,
    kept: Container[Key] = (),
    keys: Container[Key] | None = None,
) -> list[int]:
    """Return the numbers of the tensors that a glob matches, second names left out.

    Args:
        inventory, place, select: of the target.
        kept: second names that are not left out.
        keys: all that may be chosen; None for any.
    """
    columns = inventory.columns
    found = [
        index
        for index, key in enumerate(columns.keys)
        if (index not in columns.aliases or key in kept)
        and (select is None or matches(key, select))
        and (keys is None or key in keys)
    ]
    if not found and select is not None:
        raise nothing_matches(place, select, map(name_of, columns.keys))
    return found


def _of_file(
    target: Checkpoint,
    inventory: Inventory,
    wanted: list[int],
    in_pieces: bool,
    known: "Mapping[Key, NamedValues]",
    progress: Progress | None,
) -> "Iterator[NamedValues]":
    from explorer.formats.files import load_path, pieces_path
    from explorer.values.describe import NamedValues

    load = pieces_path if in_pieces else load_path
    files = Unchanged(target.path)
    columns = inventory.columns
    read = _Read(files, sum(columns.kind(index).size for index in wanted), progress)
    quantised = any(kind.collection == "quantization" for kind in columns.kinds)
    packed = packed_weights(target, inventory, [columns.keys[index] for index in wanted])
    for batch in _batches(inventory, wanted):
        kinds = {columns.keys[index]: columns.kind(index) for index in batch}
        unread = kinds.keys() - known.keys()
        needed = unread | {
            part for key in packed.keys() & unread for part in packed[key].parts.values()
        }
        files.glance()
        arrays = load(target.path, needed.__contains__) if needed else {}
        for key, kind in kinds.items():
            read.begin(kind.size)
            if key in known:
                words = (kind.is_parameter, True, kind.role, kind.component)
                yield known[key]._replace(**dict(zip(_WORDS, words, strict=True)))
                continue
            if key not in arrays:  # text and other values that are not arrays
                continue
            is_packed = kind.is_parameter and _is_packed(arrays[key].dtype, quantised)
            found = NamedValues(
                key,
                arrays[key],
                _name(arrays[key].dtype) if is_packed else kind.dtype,
                kind.is_parameter,
                True,
                kind.role,
                kind.component,
                is_packed,
                watch=read.part,
            )
            if key in packed:
                found = _unpacked(found, packed[key], arrays, in_pieces)
            yield found
            if not packed:  # parts of packed weights are needed again
                del arrays[key]
    read.begin(0)
    files.check()


class _Read:
    """How much was read, and whether what is read is still what it was."""

    def __init__(self, files: Unchanged, total: int, progress: Progress | None):
        self._files, self._total, self._progress = files, total, progress
        self._before = self._size = self._part = 0

    def begin(self, size: int) -> None:
        """Note that all of the last tensor was read, and how large the next one is."""
        self._before += self._size
        self._size, self._part = size, 0
        self._report()

    def part(self, size: int) -> None:
        """Note that a part of a large tensor comes next."""
        self._files.glance()
        self._report()
        self._part = min(self._part + size, self._size)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._before + self._part, self._total)


def _unpacked(
    found: "NamedValues", weight: PackedWeight, arrays: dict[Key, Any], in_pieces: bool
) -> "NamedValues":
    """Return a packed weight dequantised; as it is stored where its parts do not fit."""
    try:
        pieces = weight.values(arrays).pieces()
    except ValueError as error:
        return found._replace(remark=str(error))
    array = pieces if in_pieces else pieces.whole()
    name = weight.layer.dtype
    return found._replace(array=array, dtype=name, is_packed=False, stored=found.array)


def _is_packed(dtype: Any, quantised: bool) -> bool:
    """Return whether a parameter's array holds words, or numbers that a scale multiplies."""
    found = dtypes.find(_name(dtype))
    return found.kind in ("int", "uint") or (quantised and found.bits <= 8)


def _batches(inventory: Inventory, wanted: list[int]) -> Iterator[list[int]]:
    """Yield numbers of tensors, so many at a time as fit in memory as float32."""
    batch: list[int] = []
    size = 0
    for index in wanted:
        batch.append(index)
        size += 4 * inventory.columns.kind(index).size
        if size >= _AT_A_TIME:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _of_tree(
    target: Tree, select: str | None, keys: Container[Key] | None
) -> "Iterator[NamedValues]":
    from explorer.objects.pytree import arrays_of
    from explorer.values.describe import NamedValues

    inventory = inventory_of(target)
    leaves: dict[Key, Any] = dict(arrays_of(target.value))
    for index in _selected(inventory, target.name or "the tree", select, (), keys):
        path = inventory.columns.keys[index]
        array = _concrete(path, leaves[path])
        kind = inventory.columns.kind(index)
        dtype, parameter = _name(array.dtype), kind.is_parameter
        yield NamedValues(path, array, dtype, parameter, False, kind.role, kind.component)


@lru_cache(64)  # NumPy spells a dtype's name anew each time
def _name(dtype: Any) -> str:
    return dtype.name


def _concrete(path: Key, leaf: Any) -> Any:
    import numpy as np

    from explorer.tree.arrays import check_concrete

    if isinstance(leaf, bool | int | float):
        return np.asarray(leaf)
    if not hasattr(leaf, "__array__"):
        raise TreeError(
            name_of(path),
            found=f"{type(leaf).__name__} has a shape and no values",
            expected="an array",
        )
    check_concrete(name_of(path), leaf)
    return leaf
