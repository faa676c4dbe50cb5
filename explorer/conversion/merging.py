"""Several models of one architecture -> one new file, a tensor at a time."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from explorer.conversion.dequantising import dequantised_notes
from explorer.conversion.saving import save_source
from explorer.conversion.settings import SaveSettings
from explorer.conversion.values import ValueSource, source_of
from explorer.conversion.writing import check_free
from explorer.errors import TreeError, first_few
from explorer.paths import Key, name_of, path_of
from explorer.targets.records import Target
from explorer.transforms.records import Change, TensorChange

if TYPE_CHECKING:
    import numpy as np

    from explorer.transforms.combining.methods import Mixing

__all__ = ["merge_to_file"]


class _MergedSource(ValueSource):
    """The first of several sources, whose tensors are combined with those of the others."""

    def __init__(self, sources: Sequence[ValueSource], has_base: bool, mixing: "Mixing"):
        first = sources[0]
        super().__init__(first.side, first.parameters, first.path, first.format)
        self._sources, self._has_base, self._mixing = sources, has_base, mixing
        self._keys = [_keys_of(each, first, n) for n, each in enumerate(sources)]
        # as the leaves of a tree are numbered, which decides what dare drops of each
        paths = sorted(self.side.tensors, key=path_of)
        self._numbers = {key: number for number, key in enumerate(paths)}
        self._last: tuple[Key, np.ndarray] | None = None
        self.done: dict[Key, TensorChange] = {}

    def array(self, key: Key) -> "np.ndarray":
        """Return the combination of the tensors that a key has in all sources."""
        from explorer.transforms.combining.combine import combined_tensor

        if self._last is not None and self._last[0] == key:
            return self._last[1]
        self._last = None  # before the next is made
        arrays = [
            source.whole(keys[key])
            for source, keys in zip(self._sources, self._keys, strict=True)
        ]
        base = arrays.pop(0) if self._has_base else None
        name = name_of(key)
        found, change = combined_tensor(
            name, arrays, base, self._mixing, self._numbers[key], key in self.parameters
        )
        self.done[key] = change
        for source, keys in zip(self._sources, self._keys, strict=True):
            source.release_whole(keys[key])
        self._last = key, found
        return found

    def whole(self, key: Key) -> "np.ndarray":
        """Return the same."""
        return self.array(key)

    def release(self, array: "np.ndarray") -> None:
        """Do nothing: what is given is not of a file."""

    def release_whole(self, key: Key) -> None:
        """Do nothing: it has been done."""


def _keys_of(source: ValueSource, first: ValueSource, number: int) -> dict[Key, Key]:
    """Return the key in a source of each tensor of the first.

    Raises:
        TreeError: the source lacks some, or has others.
    """
    own = {name_of(key): key for key in source.side.tensors}
    wanted = {name_of(key): key for key in first.side.tensors}
    for names, others, word in ((wanted, own, "lacks"), (own, wanted, "alone has")):
        lacking = dict.fromkeys(name for name in names if name not in others)
        if lacking:
            raise TreeError(
                source.side.place,
                found=f"{word} {first_few(lacking)}",
                expected=f"the tensors of {first.side.place}",
                cure="merge checkpoints of one model; `explorer compare` lists what differs",
            )
    return {key: own[name] for name, key in wanted.items()}


def merge_to_file(
    models: Sequence[Target],
    base: Target | None,
    mixing: "Mixing",
    path: str,
    settings: SaveSettings,
    names: Sequence[str],
) -> Change:
    """Write the combination of several models to a new file or folder.

    Args:
        models: checkpoints, or trees of arrays, whose tensors have the same names.
        base: what they were trained from, where the method needs it.
        mixing: how they are combined.
        path: of the new file or folder.
        settings: of the writing.
        names: what the record calls the models.

    Raises:
        InputError: as `save_target` and `combined_tensor`.
    """
    from msgspec.structs import replace

    check_free(path)
    targets = [*models] if base is None else [base, *models]
    sources = [source_of(each) for each in targets]
    notes = [note for source in sources for note in dequantised_notes(source)]
    source = _MergedSource(sources, base is not None, mixing)
    what = f"merge {mixing.method}"
    record = f"{what} of {', '.join(map(os.path.basename, names))}"
    saved = save_source(source, targets[0], path, replace(settings, record=record))
    return Change(
        transform=what,
        target=f"{len(models)} models",
        tensors=tuple(source.done.values()),
        notes=(*notes, *saved.notes),
    )
