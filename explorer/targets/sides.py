"""A target as one side of a comparison: its tensors by key, and their arrays when asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer import dtypes
from explorer.errors import InputError, TargetError, TreeError
from explorer.identify.packing import unpacked_name
from explorer.inventory.inventory import Inventory
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.paths import Key, matches, name_of, path_of
from explorer.targets.inventories import inventory_of
from explorer.targets.records import Checkpoint, Target, Tree

if TYPE_CHECKING:
    import numpy as np

    from explorer.architectures.architecture import Architecture
    from explorer.formats.gguf import StoredBlocks

__all__ = ["ScaledWeight", "Side", "StoredArray", "side_of"]

_NUMBERS = ("float", "complex", "int", "uint", "bool", "key")


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


class ScaledWeight(NamedTuple):
    """What integers stand for: the name of the weight, and the key of what they are times."""

    name: str
    scale: Key


class Side(ABC):
    """What the two kinds of sides share.

    Attributes:
        place: what errors and reports call the side.
        tensors: by key, in the source's order.
        scaled: weights that are stored as small integers, by key.
        notes: what was left out.
    """

    def __init__(self, place: str, tensors: Iterable[StoredArray]):
        self.place = place
        self.tensors: dict[Key, StoredArray] = {}
        self.scaled: dict[Key, ScaledWeight] = {}
        self.notes: list[str] = []
        for each in tensors:
            if dtypes.find(each.dtype).kind in _NUMBERS:
                self.tensors[each.key] = each
            else:
                self.notes.append(
                    f"{place}: {name_of(each.key)} ({each.dtype}) is not of numbers: left out"
                )

    def select(self, glob: str | None) -> None:
        """Leave out the tensors that a glob does not match.

        Raises:
            InputError: none is left.
        """
        if glob is None:
            return
        check_glob(glob)
        kept = {key: each for key, each in self.tensors.items() if matches(key, glob)}
        if not kept:
            raise nothing_matches(self.place, glob, map(name_of, self.tensors))
        self.tensors = kept

    @abstractmethod
    def arrays(self, keys: Iterable[Key]) -> "dict[Key, np.ndarray]":
        """Return the arrays of some keys.

        Raises:
            InputError: one cannot be read.
        """

    def blocks(self, keys: Iterable[Key]) -> "dict[Key, StoredBlocks]":
        """Return the stored blocks of those keys that are block-quantised."""
        return {}

    def architecture(self) -> "Architecture | None":
        """Return the architecture that the target itself, or a config beside it, describes."""
        return None

    @abstractmethod
    def check_unchanged(self) -> None:
        """Refuse what was written while it was read.

        Raises:
            TargetError: it was.
        """


class _FileSide(Side):
    def __init__(self, path: str, inventory: Inventory):
        super().__init__(path, _stored_arrays(inventory))
        self.scaled = _scaled_weights(inventory)
        self._stamps = _stamps_of(path)

    def arrays(self, keys: Iterable[Key]) -> "dict[Key, np.ndarray]":
        from explorer.formats.files import load_path

        wanted = set(keys)
        found = load_path(self.place, wanted.__contains__)
        for key in wanted:
            shape = self.tensors[key].shape
            # the words of a PRNG key are one more axis of its array
            if key not in found or found[key].shape[: len(shape)] != shape:
                self.check_unchanged()
                raise TargetError(
                    self.place,
                    found=f"{name_of(key)} is not there as listed",
                    expected=f"an array of shape {list(shape)}",
                )
        return found

    def blocks(self, keys: Iterable[Key]) -> "dict[Key, StoredBlocks]":
        from explorer.formats.files import blocks_of_path

        return blocks_of_path(self.place, set(keys).__contains__)

    def architecture(self) -> "Architecture | None":
        from explorer.pretrained.loading import config_of
        from explorer.pretrained.tensors import architecture_from

        try:
            return architecture_from(config_of(self.place), self.place)
        except InputError:
            return None

    def check_unchanged(self) -> None:
        if _stamps_of(self.place) != self._stamps:
            raise TargetError(
                self.place,
                found="changed while it was read: what was read of it is of no one state",
                cure="wait until it is written, and run again",
            )


def _stamps_of(path: str) -> dict[str, Any]:
    """Return the stamps of what holds a checkpoint's arrays, not of logs beside it."""
    from explorer.formats.files import sources_of_path
    from explorer.storage.local import stamps

    return {source: stamps(source) for source in sources_of_path(path)}


def _stored_arrays(inventory: Inventory) -> Iterable[StoredArray]:
    columns = inventory.columns
    shown = {key for tie in inventory.ties if tie.shown for key in tie.keys[1:]}
    for index, key in enumerate(columns.keys):
        kind = columns.kind(index)
        shape, dtype = (
            (kind.stored[0], kind.stored[1]) if kind.stored else (kind.shape, kind.dtype)
        )
        is_buffer = kind.collection == "buffers"
        yield StoredArray(key, dtype, tuple(shape), key in shown, is_buffer)


def _scaled_weights(inventory: Inventory) -> dict[Key, ScaledWeight]:
    """Return the 8-bit weights with a scale of their own beside them, and nothing else."""
    columns = inventory.columns
    kinds = {key: columns.kind(index) for index, key in enumerate(columns.keys)}
    beside: dict[tuple[str, ...], list[Key]] = {}
    for key, kind in kinds.items():
        if kind.collection == "quantization":
            beside.setdefault(path_of(key)[:-1], []).append(key)
    found = {}
    for key, kind in kinds.items():
        if not (kind.rule.startswith("INT8") and kind.stored and kind.is_parameter):
            continue
        shape, dtype, _ = kind.stored
        state = beside.get(path_of(key)[:-1], [])
        if shape != kind.shape or dtype != "int8" or len(state) != 1:
            continue
        scale = kinds[state[0]]
        if dtypes.find(scale.dtype).kind == "float" and _scales(scale.shape, shape):
            name = unpacked_name(key) if isinstance(key, str) else name_of(key)
            found[key] = ScaledWeight(name_of(name), state[0])
    return found


def _scales(scale: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Return whether an array of one shape can multiply one of another, axis by axis."""
    return len(scale) <= len(shape) and all(
        size in (1, whole) for size, whole in zip(reversed(scale), reversed(shape))
    )


class _TreeSide(Side):
    def __init__(self, target: Tree):
        from explorer.objects.pytree import arrays_of

        self._known = target.architecture
        place = target.name or "the tree"
        leaves, tensors, seen = {}, [], set()
        for path, leaf in arrays_of(target.value):
            leaves[path] = leaf
            dtype, shape = _format_of(path, leaf)
            tensors.append(StoredArray(path, dtype, shape, id(leaf) in seen))
            seen.add(id(leaf))
        self._leaves = leaves
        super().__init__(place, tensors)

    def arrays(self, keys: Iterable[Key]) -> "dict[Key, np.ndarray]":
        from explorer.pretrained.arrays import array_of

        return {key: array_of(_boxed(self._leaves[key]), name_of(key)) for key in keys}

    def architecture(self) -> "Architecture | None":
        return self._known

    def check_unchanged(self) -> None:
        pass  # arrays in memory belong to the caller


def _boxed(leaf: Any) -> Any:
    if isinstance(leaf, bool | int | float | complex):
        import numpy as np

        return np.asarray(leaf)
    if str(getattr(leaf, "dtype", "")).startswith("key<") and hasattr(leaf, "__array__"):
        import jax

        return jax.random.key_data(leaf)
    return leaf


def _format_of(path: Key, leaf: Any) -> tuple[str, tuple[int, ...]]:
    if not hasattr(_boxed(leaf), "__array__"):
        raise TreeError(
            name_of(path),
            found=f"{type(leaf).__name__} has a shape and no values",
            expected="an array",
        )
    dtype = getattr(leaf, "dtype", None)
    if dtype is None:
        leaf = _boxed(leaf)
        dtype = leaf.dtype
    return str(getattr(dtype, "name", dtype)), tuple(leaf.shape)


def side_of(target: Target) -> Side:
    """Return a target as one side of a comparison.

    Raises:
        InputError: it has no values, or cannot be read.
    """
    match target:
        case Checkpoint(path):
            return _FileSide(path, inventory_of(target))
        case Tree():
            return _TreeSide(target)
    raise TreeError(
        getattr(target, "name", "") or type(target).__name__,
        found="has shapes and no values",
        expected="a checkpoint, or a tree or a module that holds arrays",
    )
