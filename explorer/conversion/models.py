"""The parameters of a model in a source, whatever their names are, as tensors of another file."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_fit import is_bare
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.stored_tensors import StoredTensor, stored_tensors
from explorer.conversion.values import ValueSource
from explorer.errors import InputError, first_few
from explorer.formats.casting import Loss, parts_of
from explorer.formats.writing import OutgoingTensor
from explorer.paths import Key, name_of
from explorer.targets.leaves import LeafPart, ModelLeaf, leaves_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ModelSource", "stored_in_folder"]

Path = tuple[str, ...]
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def stored_in_folder(architecture: Architecture) -> dict[str, StoredTensor]:
    """Return the tensors that Hugging Face's class of an architecture saves, by name."""
    names = checkpoint_names_of(architecture)
    return stored_tensors(architecture, names, is_bare(architecture))


class ModelSource:
    """A model's parameters in a source.

    Attributes:
        source: where they are.
        before: the dtype of each tensor in the source, by its new name.
        losses: what casting loses, by the name of the new tensor, as they are written.
        stored: the leaves in each new tensor, by its name.
        others: tensors of the source that are not of the model and are written beside it.
    """

    def __init__(self, source: ValueSource, architecture: Architecture):
        self.source = source
        self.before: dict[str, str] = {}
        self.losses: dict[str, Loss] = {}
        self.stored: dict[str, StoredTensor] = {}
        self.others: list[OutgoingTensor] = []
        self._parts = leaves_of(source.side, architecture)
        self._class = architecture.class_name

    def check(self, stored: Mapping[str, StoredTensor]) -> None:
        """Refuse a source that lacks parameters of the model.

        Raises:
            InputError: it names them.
        """
        lacking = {
            "/".join(path): None
            for tensor in stored.values()
            for path in tensor.leaves
            if not self._has(path, tensor.expert)
        }
        if lacking:
            raise InputError(
                self.source.side.place,
                found=f"lacks {first_few(lacking)}",
                expected=f"the parameters of {self._class}, in float formats",
                cure="give the config of its model; `explorer convert IN OUT --names source` keeps names",
            )

    def used(self) -> set[Key]:
        """Return the keys of the tensors that parameters of the model are in."""
        return {key for part in self._parts.values() for key in part.keys}

    def left_over(self) -> list[str]:
        """Return the names of parameters that are not of the model."""
        used = self.used()
        tensors = self.source.side.tensors.items()
        return [
            name_of(key)
            for key, each in tensors
            if key not in used and not each.is_buffer and not each.is_second
        ]

    def dtype(self, stored: StoredTensor) -> str:
        """Return the dtype that a new tensor has where none is asked for."""
        found = {self._dtype_of(part) for path in stored.leaves for part in self._of(path)}
        return found.pop() if len(found) == 1 else "float32"

    def outgoing(
        self, name: str, stored: StoredTensor, dtype: str | None = None
    ) -> OutgoingTensor:
        """Return a tensor to be written.

        Args:
            name: what the file calls it.
            stored: the leaves in it and their layout.
            dtype: of the tensor; by default that of the source.
        """
        wanted = dtype or self.dtype(stored)
        first = self._of(stored.leaves[0])[0]
        self.before[name] = self.source.side.tensors[first.key].dtype
        self.stored[name] = stored

        def parts() -> "Iterator[np.ndarray]":
            loss = self.losses.setdefault(name, Loss())
            for array in self.arrays(stored):
                yield from parts_of(array, wanted, loss, self.source.release)

        return OutgoingTensor(name, wanted, stored.shape, parts)

    def arrays(self, stored: StoredTensor) -> "Iterator[np.ndarray]":
        """Yield the tensor; that of several experts one expert at a time."""
        [path, *others] = stored.leaves
        experts = [ModelLeaf(path, 0) in self._parts, stored.expert is None]
        if all(experts) and not others and (stored.layout.axes or (0,))[0] == 0:
            number = 0
            while (part := self._parts.get(ModelLeaf(path, number))) is not None:
                yield stored.layout.store([self._read(part)[None]])
                self._release([part])
                number += 1
        else:
            leaves = [self.leaf(each, stored.expert) for each in stored.leaves]
            yield stored.layout.store(leaves)
            del leaves
            self._release(part for path in stored.leaves for part in self._of(path))

    def _release(self, parts: Iterable[LeafPart]) -> None:
        """Give the pages of what is written back: a rearranged tensor is a copy of them."""
        for part in parts:
            self.source.release_whole(part.key)

    def holders(self, stored: StoredTensor) -> list[LeafPart]:
        """Return where the source holds each leaf of a new tensor."""
        return [
            self._parts.get(ModelLeaf(path, stored.expert)) or self._of(path)[0]
            for path in stored.leaves
        ]

    def leaf(self, path: Path, expert: int | None = None) -> "np.ndarray":
        """Return a parameter of the model, or one expert's part of it."""
        import numpy as np

        part = self._parts.get(ModelLeaf(path, expert))
        if part is not None:
            return self._read(part)
        if expert is not None:
            return self._read(self._parts[ModelLeaf(path)])[expert]
        return np.stack([self._read(part) for part in self._of(path)])

    def _of(self, path: Path) -> list[LeafPart]:
        """Return the part that holds a leaf, or those of its experts."""
        whole = self._parts.get(ModelLeaf(path))
        if whole is not None:
            return [whole]
        found: list[LeafPart] = []
        while (part := self._parts.get(ModelLeaf(path, len(found)))) is not None:
            found.append(part)
        return found

    def _has(self, path: Path, expert: int | None) -> bool:
        parts = self._of(path)
        is_there = bool(parts) and (
            expert is None or len(parts) == 1 or expert < len(parts)
        )
        return is_there and all(self._dtype_of(part) in _FLOATS for part in parts)

    def _dtype_of(self, part: LeafPart) -> str:
        name = self.source.side.tensors[part.key].dtype
        if part.key in self.source.side.made:  # a packed weight, decoded
            return "float32"
        return "float32" if dtypes.find(name).block > 1 and _is_float(name) else name

    def _read(self, part: LeafPart) -> "np.ndarray":
        found: Any = part.of(self.source.whole(part.key))
        return found - found.dtype.type(1) if part.is_raised else found


def _is_float(name: str) -> bool:
    return dtypes.find(name).kind == "float"
