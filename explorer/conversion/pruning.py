"""A target -> a new file with zeros in its kernels, a tensor at a time."""

import os
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.conversion.dequantising import dequantised_notes
from explorer.conversion.plain import PlainSource, outgoing_inventory
from explorer.conversion.saving import save_source
from explorer.conversion.settings import SaveSettings
from explorer.conversion.values import ValueSource, source_of
from explorer.conversion.writing import check_free
from explorer.identify.packing import unpacked_name
from explorer.inventory.tensor import Kind
from explorer.paths import Key, name_of
from explorer.targets.inventories import inventory_of
from explorer.targets.kernels import views_of
from explorer.targets.records import Target
from explorer.transforms.measure import Distance
from explorer.transforms.pruning.patterns import PruneSettings
from explorer.transforms.pruning.recording import change_of
from explorer.transforms.records import Change, TensorChange

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.pieces import Pieces

__all__ = ["prune_to_file"]


class _PrunedSource(ValueSource):
    """A source whose kernels are pruned when they are taken; one of them is in memory."""

    def __init__(self, source: ValueSource, views: dict, settings: PruneSettings):
        from explorer.transforms.pruning.streaming import KernelPruner

        super().__init__(source.side, source.parameters, source.path, source.format)
        keys = {name_of(key): key for key in source.side.tensors}
        self._base, self._kernels = source, {k: n for n, k in keys.items() if n in views}
        self._pruner: KernelPruner = KernelPruner(
            {name: view for name, view in views.items() if name in keys},
            settings,
            lambda name: source.whole(keys[name]),
            source.release,
        )
        self._last: tuple[Key, np.ndarray] | None = None
        self.done: dict[str, tuple[Distance | None, int, str, int]] = {}

    def array(self, key: Key) -> "np.ndarray | Pieces":
        """Return a stored array; a kernel pruned."""
        if key not in self._kernels:
            return self._base.array(key)
        if self._last is None or self._last[0] != key:
            self._last = None  # before the next is made
            name = self._kernels[key]
            found = self._pruner.pruned(name)
            self._last = key, found.values
            measured = found.running.distance, found.zeros
            self.done[name] = (*measured, found.values.dtype.name, found.values.nbytes)
        return self._last[1]

    def whole(self, key: Key) -> "np.ndarray":
        """Return a stored array; blocks of numbers decoded, a kernel pruned."""
        if key not in self._kernels:
            return self._base.whole(key)
        found = self.array(key)
        assert not isinstance(found, tuple)
        return found

    def release(self, array: "np.ndarray") -> None:
        """Give the pages of a mapped file back."""
        self._base.release(array)

    def release_whole(self, key: Key) -> None:
        """Give the pages of a stored array back."""
        self._base.release_whole(key)


def prune_to_file(
    target: Target,
    path: str,
    pruning: PruneSettings,
    select: str | None,
    settings: SaveSettings,
    name: str,
) -> Change:
    """Write a target with zeros in its kernels to a new file or folder.

    Args:
        target: a checkpoint, or a tree of arrays.
        path: of the new file or folder.
        pruning: by one of `STREAMED`.
        select: a glob over the tensors to prune.
        settings: of the writing.
        name: what the record calls the target.

    Raises:
        InputError: as `save_target` and `prune_tensors`.
    """
    check_free(path)
    base = source_of(target)
    unpacked = dequantised_notes(base)
    inventory = inventory_of(target)
    if unpacked:
        tensors = PlainSource(base).outgoing()
        inventory = outgoing_inventory(base.side.place, tensors)
    views = views_of(target, name, select, inventory)
    source = _PrunedSource(base, views, pruning)
    from msgspec.structs import replace

    what = f"prune {pruning.pattern.text} by {pruning.by}"
    settings = replace(settings, record=f"{what} of {os.path.basename(name)}")
    saved = save_source(source, target, path, settings)
    stored = {_unpacked(each.key): each.kind for each in inventory_of(target)}
    tensors = [
        _change(each.name, each.kind, stored.get(each.name, each.kind), source)
        for each in inventory
        if not each.alias and each.key in source.side.tensors
    ]
    change = change_of(name, pruning, tensors, views)
    return replace(change, notes=(*change.notes, *unpacked, *saved.notes))


def _unpacked(key: Key) -> str:
    """Return the name of a tensor once it is decoded."""
    return name_of(unpacked_name(key) if isinstance(key, str) else key)


def _change(name: str, kind: Kind, stored: Kind, source: _PrunedSource) -> TensorChange:
    number = kind.size if kind.is_parameter else 0  # buffers take bytes alone
    block = dtypes.find(kind.dtype)
    after = "float32" if block.kind == "float" and block.block >= 32 else kind.dtype
    size = kind.nbytes if after == kind.dtype else 4 * kind.size
    found = source.done.get(name)
    measured = {}
    if found is not None:
        lost, zeros, after, size = found
        measured = {"zeros": zeros, **(lost._asdict() if lost else {})}
    return TensorChange(
        name=name,
        component=kind.component,
        shape=kind.shape,
        before=stored.dtype,
        after=after,
        parameters_before=number,
        parameters_after=number,
        bytes_before=stored.nbytes,
        bytes_after=size,
        **measured,
    )
