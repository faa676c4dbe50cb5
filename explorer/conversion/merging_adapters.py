"""A checkpoint and adapters -> a new checkpoint with the adapters merged, a tensor at a time."""

import os
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import declare
from explorer.architectures.stored_tensors import StoredTensor
from explorer.conversion.dequantising import dequantised_notes
from explorer.conversion.encoding import check_encoders, encoded
from explorer.conversion.known import Known, known_of
from explorer.conversion.models import ModelSource
from explorer.conversion.quantising import as_stored
from explorer.conversion.saving import save_model
from explorer.conversion.settings import SaveSettings, format_of
from explorer.conversion.values import ValueSource, source_of
from explorer.conversion.writing import check_free
from explorer.errors import InputError
from explorer.formats.writing import OutgoingTensor
from explorer.paths import Key
from explorer.roles.names import classify
from explorer.targets.records import Target
from explorer.transforms.records import Change, TensorChange
from explorer.transforms.running import RunningDistance

if TYPE_CHECKING:
    import numpy as np

    from explorer.transforms.adapters.adapter import Adapter

__all__ = ["merge_into_file"]

Path = tuple[str, ...]


def merge_into_file(
    target: Target, adapter: str, path: str, settings: SaveSettings, name: str
) -> Change:
    """Write a checkpoint with adapters merged into it; one kernel at a time is in memory.

    A GGUF file that is merged into a GGUF file keeps the types of its tensors: what is adapted is
    quantised again, and the record says what that lost; the rest is copied. Packed weights of other
    files are dequantised first.

    Args:
        target: a checkpoint of a model that explorer knows, or a tree of its parameters.
        adapter: a folder of peft's or a GGUF file of adapters.
        path: of the new file or folder.
        settings: of the writing.
        name: what the record calls the target.

    Raises:
        InputError: adapters of another model, weights that are packed in a layout that is not
            decoded, or a path that exists or cannot be written; one line says which.
    """
    from explorer.transforms.adapters.gguf_adapters import read_adapters
    from explorer.transforms.adapters.peft_trees import adapters_of

    check_free(path)
    form, _ = format_of(path, settings.format)
    stored = read_adapters(adapter)
    source = source_of(target)
    known = known_of(target, source, settings)
    notes = dequantised_notes(source, (known.config or {}).get("quantization_config"))
    if notes:
        known = known.unpacked()
    architecture = _architecture(source, known)
    adapters = adapters_of(stored, _shapes(architecture), architecture)
    keeps = form == "gguf" and source.format.startswith("gguf") and settings.dtype is None
    model = _MergedModel(source, architecture, adapters, keeps)
    saved = save_model(model, known, path, settings)
    merged = f"{len(stored.modules):,} modules"
    return Change(
        transform=f"lora merge {os.path.basename(os.path.normpath(adapter))} ({merged})",
        target=name,
        tensors=tuple(model.changes()),
        notes=(*notes, *saved.notes, *model.losses_again()),
    )


class _MergedModel(ModelSource):
    """A model's parameters with adapters merged into them as they are read."""

    def __init__(
        self, source: ValueSource, architecture: Architecture, adapters: Any, keeps: bool
    ):
        from explorer.transforms.adapters.trees import adapters_in, replaced_in

        super().__init__(source, architecture)
        self._adapters: dict[Path, tuple[Adapter, int]] = {
            part.kernel.path: (adapter, number)
            for _, adapter in adapters_in(adapters)
            for number, part in enumerate(adapter.parts())
        }
        self._whole = replaced_in(adapters)
        self._made: dict[str, tuple[StoredTensor, OutgoingTensor]] = {}
        self._moved: dict[str, RunningDistance] = {}
        self._lost: dict[str, RunningDistance] = {}
        tensors = source.side.tensors
        self._kept: dict[str, Key] = {str(key): key for key in tensors} if keeps else {}

    def outgoing(
        self, name: str, stored: StoredTensor, dtype: str | None = None
    ) -> OutgoingTensor:
        """Return a tensor to be written; of a GGUF file that stays one, in its own type."""
        key = self._kept.get(name)
        if key is None:
            made = super().outgoing(name, stored, dtype)
        else:
            made = self._in_its_type(name, stored, key)
        self._made[name] = stored, made
        return made

    def _in_its_type(self, name: str, stored: StoredTensor, key: Key) -> OutgoingTensor:
        kind = self.before[name] = self.source.side.tensors[key].dtype
        if not self._is_changed(stored):
            return as_stored(self.source, key, name, kind)
        if dtypes.find(kind).block == 1:
            return super().outgoing(name, stored, kind)
        check_encoders({kind})
        lost = self._lost[name] = RunningDistance()
        release, place = self.source.release, self.source.side.place
        arrays = lambda: self.arrays(stored)  # noqa: E731
        return encoded(place, name, stored.shape, kind, arrays, lost, release)

    def arrays(self, stored: StoredTensor) -> "Iterator[np.ndarray]":
        """Yield the tensor, merged."""
        if not self._is_changed(stored):
            yield from super().arrays(stored)
            return
        leaves = [self.leaf(path, stored.expert) for path in stored.leaves]
        yield stored.layout.store(leaves)
        del leaves
        self._release(part for path in stored.leaves for part in self._of(path))

    def leaf(self, path: Path, expert: int | None = None) -> "np.ndarray":
        """Return a parameter of the model with its adapter merged into it."""
        before = super().leaf(path, expert)
        if path in self._whole:
            after = self._whole[path]
        elif path in self._adapters:
            after = self._merged(before, path, expert)
        else:
            return before
        self._moved.setdefault("/".join(path), RunningDistance()).add(before, after)
        return after

    def _merged(self, before: "np.ndarray", path: Path, expert: int | None) -> "np.ndarray":
        from explorer.transforms.adapters.sums import merged_kernel

        adapter, number = self._adapters[path]
        part = adapter.parts()[number]
        if expert is not None:
            kernel, *arrays = part
            one = kernel._replace(shape=kernel.shape[1:], axes=kernel.axes[1:])
            part = type(part)(one, *(None if x is None else x[expert] for x in arrays))
        return merged_kernel(before, part, adapter.scale)

    def _is_changed(self, stored: StoredTensor) -> bool:
        return any(path in self._adapters or path in self._whole for path in stored.leaves)

    def changes(self) -> Iterator[TensorChange]:
        """Yield what became of each tensor, once all are written."""
        for name, (stored, made) in self._made.items():
            before = self.before.get(name, made.dtype)
            moved = [self._moved.get("/".join(path)) for path in stored.leaves]
            # of a fused projection, the kernel that moved most
            found = max(
                (each.distance for each in moved if each is not None),
                key=lambda each: 0.0 if each is None else each.relative_error or 0.0,
                default=None,
            )
            more = {} if found is None else found._asdict()
            path, note = stored.leaves[0], self._note(name)
            yield _change(name, path, made, before, prod(made.shape), note=note, **more)

        parameters = {str(key) for key in self.source.parameters}
        for made in self.others:
            # buffers take bytes alone
            number = prod(made.shape) if made.name in parameters else 0
            path, before = tuple(made.name.split(".")), self.before[made.name]
            yield _change(made.name, path, made, before, number)

    def losses_again(self) -> Iterator[str]:
        """Yield what quantising again lost at most, for each type, once all are written."""
        worst: dict[str, tuple[float, str]] = {}
        for name in self._lost:
            kind = self.before[name]
            worst[kind] = max(worst.get(kind, (0.0, "")), (self._error(name), name))
        for kind, (error, name) in worst.items():
            yield f"quantised again in {kind}: at most {error:.3g} from the exact sums ({name})"

    def _error(self, name: str) -> float:
        found = self._lost[name].distance
        return 0.0 if found is None else found.relative_error or 0.0

    def _note(self, name: str) -> str:
        if name not in self._lost:
            return ""
        return f"quantised again: {self._error(name):.3g} from the exact sum"


def _architecture(source: ValueSource, known: Known) -> Architecture:
    if known.architecture is None:
        raise InputError(
            source.side.place,
            found="has no architecture, by which adapters would find its kernels",
            expected="a config.json beside it, or a GGUF file",
            cure=known.why,
        )
    return known.architecture


def _shapes(architecture: Architecture) -> Any:
    """Return the shapes of a model's parameters, as adapters are fitted to them."""
    import jax

    from explorer.transforms.adapters.trees import ParameterLeaves
    from explorer.tree.nest import nest

    shapes = {
        leaf.path: jax.ShapeDtypeStruct(leaf.shape, "float32")
        for leaf in declare(architecture)
    }
    return ParameterLeaves(nest(shapes))


def _change(
    name: str, path: Path, made: OutgoingTensor, before: str, number: int, **more: Any
) -> TensorChange:
    """Return what became of a tensor of a format, of which so many elements are parameters."""
    return TensorChange(
        name=name,
        component=classify(path, made.shape)[1],
        shape=made.shape,
        before=before,
        after=made.dtype,
        parameters_before=number,
        parameters_after=number,
        bytes_before=dtypes.find(before).nbytes(prod(made.shape)),
        bytes_after=made.nbytes,
        **more,
    )
