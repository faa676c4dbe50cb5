"""A target as one side of a comparison: its tensors by key, and their arrays when asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from explorer import dtypes
from explorer.errors import InputError, TargetError, TreeError
from explorer.inventory.inventory import Inventory
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.paths import Key, matches, name_of
from explorer.targets.inventories import inventory_of
from explorer.targets.packed import PackedWeight, packed_weights
from explorer.targets.records import Checkpoint, Target, Tree
from explorer.targets.scaled import ScaledWeight, scaled_weights
from explorer.targets.stored import Made, StoredArray
from explorer.targets.unchanged import Unchanged
from explorer.targets.valueless import no_values

if TYPE_CHECKING:
    import numpy as np

    from explorer.architectures.architecture import Architecture
    from explorer.formats.gguf import StoredBlocks

__all__ = ["Side", "side_of"]

_NUMBERS = ("float", "complex", "int", "uint", "bool", "key")


class Side(ABC):
    """What the two kinds of sides share.

    Attributes:
        place: what errors and reports call the side.
        tensors: by key, in the source's order.
        scaled: weights that are stored as small integers, by key.
        made: what makes the tensors that are not stored as they are compared, by key.
        quantised: the quantised leaves of a tree, by key.
        notes: what was left out.
        is_own: whether nothing else sees its arrays, so that their pages can be given back.
    """

    is_own = False

    def __init__(self, place: str, tensors: Iterable[StoredArray]):
        self.place = place
        self.tensors: dict[Key, StoredArray] = {}
        self.scaled: dict[Key, ScaledWeight] = {}
        self.made: dict[Key, Made] = {}
        self.quantised: dict[Key, Any] = {}
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

    def make(
        self, arrays: "dict[Key, StoredArray]", made: "dict[Key, Made]", gone: set[Key]
    ) -> None:
        """Put tensors in the places of some keys, and leave out others.

        Args:
            arrays: by the key whose place each takes.
            made: what makes them, by their own keys.
            gone: keys of what they are made of.
        """
        placed = {}
        for key, stored in self.tensors.items():
            if key in arrays:
                placed[arrays[key].key] = arrays[key]
            elif key not in gone:
                placed[key] = stored
        self.tensors = placed
        self.made |= made
        self.scaled = {key: each for key, each in self.scaled.items() if key not in arrays}

    def packed(self) -> "dict[Key, PackedWeight]":
        """Return the packed weights whose layouts are known."""
        return {}

    def undecoded(self) -> int:
        """Return how many packed weights are compared as they are stored."""
        return 0

    def arrays(self, keys: Iterable[Key]) -> "dict[Key, np.ndarray]":
        """Return the arrays of some keys, made of stored ones where they are.

        Raises:
            InputError: one cannot be read.
        """
        wanted = set(keys)
        made = {key: self.made[key] for key in wanted & self.made.keys()}
        stored = self.stored(
            wanted - made.keys() | {part for each in made.values() for part in each.keys}
        )
        found = {key: stored[key] for key in wanted - made.keys()}
        for key, each in made.items():
            try:
                found[key] = each.array(stored)
            except ValueError as error:
                raise TargetError(
                    self.place,
                    found=f"{name_of(key)} cannot be dequantised: {error}",
                    expected="scales that fit the weight",
                ) from None
        return found

    @abstractmethod
    def stored(self, keys: Iterable[Key]) -> "dict[Key, np.ndarray]":
        """Return the stored arrays of some keys.

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
    is_own = True

    def __init__(self, target: Checkpoint, inventory: Inventory):
        super().__init__(target.path, _stored_arrays(inventory))
        self._shapes = {key: each.shape for key, each in self.tensors.items()}
        self.scaled = scaled_weights(inventory)
        self._files = Unchanged(target.path)
        self._target, self._inventory = target, inventory

    def packed(self) -> "dict[Key, PackedWeight]":
        return packed_weights(self._target, self._inventory)

    def undecoded(self) -> int:
        columns = self._inventory.columns
        decoded = {
            key for each in self.made.values() for key in each.keys
        } | self.scaled.keys()
        return sum(
            key not in decoded
            for index, key in enumerate(columns.keys)
            if (kind := columns.kind(index)).stored is not None and kind.is_parameter
        )

    def stored(self, keys: Iterable[Key]) -> "dict[Key, np.ndarray]":
        from explorer.formats.files import load_path

        wanted = set(keys)
        found = load_path(self.place, wanted.__contains__)
        for key in wanted:
            shape = self._shapes[key]
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
        self._files.check()


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


class _TreeSide(Side):
    def __init__(self, target: Tree):
        from explorer.objects.pytree import arrays_of

        self._known = target.architecture
        place = target.name or "the tree"
        leaves, tensors, seen = {}, [], set()
        arrays = arrays_of(target.value)
        packed: dict[Key, Any] = {
            path: leaf for path, leaf in arrays if hasattr(leaf, "scheme")
        }
        # scales are of what they are beside, and no tensors of their own
        for path, leaf in (pair for pair in arrays if pair[0][:-1] not in packed):
            leaves[path] = leaf
            dtype, shape = _format_of(path, leaf)
            tensors.append(StoredArray(path, dtype, shape, id(leaf) in seen))
            seen.add(id(leaf))
        self._leaves = leaves
        super().__init__(place, tensors)
        self.quantised = packed

    def stored(self, keys: Iterable[Key]) -> "dict[Key, np.ndarray]":
        from explorer.pretrained.arrays import array_of
        from explorer.tree.arrays import check_concrete
        from explorer.values.arrays import check_addressable

        keys = list(keys)
        for key in keys:
            check_concrete(name_of(key), self._leaves[key])
            check_addressable(name_of(key), self._leaves[key])
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
        case Checkpoint():
            return _FileSide(target, inventory_of(target))
        case Tree():
            return _TreeSide(target)
    raise no_values(target)
