"""The arrays of a side, one after the other: files stay mapped, others are read in batches."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from explorer import dtypes
from explorer.paths import Key, name_of
from explorer.storage.pages import check_there
from explorer.targets.inventories import inventory_of
from explorer.targets.records import Checkpoint, Target
from explorer.targets.sides import Side, side_of

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.pieces import Pieces

__all__ = ["ValueSource", "source_of"]

_AT_A_TIME = 1 << 26  # bytes that are read together where a file cannot be mapped
_MAPPED = ("safetensors", "gguf", "npy")


class ValueSource:
    """A side whose arrays are taken one after the other.

    Attributes:
        side: the side.
        path: of a checkpoint; empty for a tree.
        format: of the checkpoint, as its listing names it.
        parameters: the keys of tensors that are parameters, and stored as they are or decoded.
    """

    def __init__(
        self,
        side: Side,
        parameters: frozenset[Key],
        path: str = "",
        file_format: str = "",
    ):
        self.side, self.path, self.format = side, path, file_format
        self.parameters = parameters
        self._kept: dict[Key, Any] = {}
        self._parts: dict[Key, Any] = {}

    def array(self, key: Key) -> "np.ndarray | Pieces":
        """Return a stored array: mapped, read, or to be decoded piece by piece."""
        if not self.path:
            return self.side.arrays([key])[key]
        if key in self.side.made:
            return self._decoded(key)
        if key not in self._kept:
            from explorer.formats.files import pieces_path

            wanted = set(self._batch(key))
            self._kept = pieces_path(self.path, wanted.__contains__)
        return self._kept[key]

    def _decoded(self, key: Key) -> "Pieces":
        """Return a packed weight, of which what it is decoded from is mapped or read."""
        from explorer.formats.files import load_path
        from explorer.packed.reading import finite, misfit
        from explorer.targets.made import MadeOfPacked

        made = self.side.made[key]
        assert isinstance(made, MadeOfPacked)
        is_mapped = self.format.startswith(_MAPPED)
        if not (is_mapped and self._parts):
            wanted = set(made.keys)
            self._parts = load_path(self.path, lambda each: is_mapped or each in wanted)
        try:
            pieces = made.weight.values(self._parts).pieces()
        except ValueError as error:
            raise misfit(self.path, name_of(key), str(error)) from None
        return finite(pieces, self.path, name_of(key))

    def whole(self, key: Key) -> "np.ndarray":
        """Return a stored array; blocks of numbers decoded to float32."""
        from explorer.formats.pieces import Pieces

        found = self.array(key)
        if isinstance(found, Pieces):
            return found.whole()
        check_there(found)
        return found

    def release(self, array: "np.ndarray") -> None:
        """Give the pages of a mapped file back that an array is stored on."""
        if self.path:
            from explorer.storage.pages import give_back

            give_back(array)

    def release_whole(self, key: Key) -> None:
        """Give the pages of a stored array back, of which something else was made."""
        array: Any = self._kept.get(key)
        if hasattr(array, "ctypes"):  # not of pieces, which give theirs back themselves
            self.release(array)

    def _batch(self, key: Key) -> Iterator[Key]:
        """Yield a key and those that follow it, as many as may be in memory together."""
        if self.format.startswith(_MAPPED):
            yield from self.side.tensors
            return
        keys = list(self.side.tensors)
        left = _AT_A_TIME
        for each in keys[keys.index(key) :]:
            tensor = self.side.tensors[each]
            size = dtypes.find(tensor.dtype).bits / 8
            for axis in tensor.shape:
                size *= axis
            if left < _AT_A_TIME and size > left:
                return
            left -= size
            yield each

    def decode(self) -> int:
        """Replace packed weights of known layouts by what they stand for; return how many."""
        from explorer.targets.made import decode

        # gpt-oss's experts are stored with outputs first, and plain ones with inputs first
        number = decode(self.side, leave="blocks")
        self.parameters |= self.side.made.keys()
        return number

    def name(self, key: Key) -> str:
        """Return what a file calls a tensor: its key, or the names of its path joined."""
        if isinstance(key, str):
            return key
        return ".".join(key) if not any("." in n or "/" in n for n in key) else name_of(key)


def source_of(target: Target) -> ValueSource:
    """Return the source of a target with values.

    Raises:
        InputError: as `side_of`.
    """
    side, columns = side_of(target), inventory_of(target).columns
    kinds = ((key, columns.kind(index)) for index, key in enumerate(columns.keys))
    parameters = frozenset(k for k, kind in kinds if kind.is_parameter and not kind.stored)
    if not isinstance(target, Checkpoint):
        return ValueSource(side, parameters)
    from explorer.formats.files import list_path

    return ValueSource(side, parameters, target.path, list_path(target.path).format)
