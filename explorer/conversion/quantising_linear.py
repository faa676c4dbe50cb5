"""A target -> safetensors whose linear layers are quantised, in their library's layout."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from explorer import dtypes
from explorer.conversion.folders import folder_files
from explorer.conversion.known import known_of
from explorer.conversion.plain import PlainSource, outgoing_inventory
from explorer.conversion.quantised_trees import plain_modules
from explorer.conversion.quantising import check_unquantised
from explorer.conversion.saving import model_tensors, names_of
from explorer.conversion.scheme_matrices import QuantisedMatrix
from explorer.conversion.settings import SaveSettings, format_of
from explorer.conversion.values import source_of
from explorer.conversion.writing import Outgoing, check_free, write_outgoing
from explorer.errors import InputError
from explorer.formats.writing import OutgoingTensor
from explorer.inventory.tensor import Kind
from explorer.paths import name_of, path_of
from explorer.sizing.weights.groups import TensorGroup, matrix_of
from explorer.sizing.weights.parsing import Wanted
from explorer.sizing.weights.schemes import linear_scheme
from explorer.targets.records import Target
from explorer.transforms.measure import lost_note
from explorer.transforms.records import Change, TensorChange, grown_notes
from explorer.transforms.running import RunningDistance

__all__ = ["quantise_linear"]

_FLOATS = ("float32", "bfloat16", "float16")


class _Written(NamedTuple):
    """A tensor of the model: what is written of it, what it was, and what it lost."""

    tensor: OutgoingTensor
    parts: list[OutgoingTensor]
    kind: Kind
    before: str
    running: RunningDistance


def quantise_linear(
    target: Target,
    path: str,
    scheme: str,
    wanted: Wanted,
    settings: SaveSettings,
    name: str,
) -> Change:
    """Write a target as safetensors whose linear layers are quantised.

    Args:
        target: a checkpoint, or a tree whose model is known.
        path: of the new file or folder.
        scheme: as the user spells it.
        wanted: the scheme.
        settings: of the writing.
        name: what the record calls the target.

    Raises:
        InputError: as `quantise_to_gguf`; also a scheme that explorer writes no files of, or
            nothing to quantise.
    """
    form, is_folder = format_of(path, settings.format)
    if form != "safetensors":
        raise InputError(
            path,
            found=f"is of format {form}",
            expected=f"safetensors, which {wanted.name} is stored in: a folder, or .safetensors",
        )
    check_free(path)
    source = source_of(target)
    source.side.select(settings.select)
    known = known_of(target, source, settings)
    check_unquantised(known, source)
    names = names_of(form, source, known, settings)
    made = PlainSource(source)
    tensors: Any = made.outgoing() if names == "source" else None
    if tensors is None:
        made, tensors = model_tensors(source, known, names)
    written = _written(source.side.place, tensors, scheme, wanted, made.before)
    files: dict[str, bytes] = {}
    notes: list[str] = []
    if is_folder:
        from explorer.transforms.quantisation.file_parts import (
            computing_dtype,
            loading_note,
            quantization_config,
        )

        is_hf = names == "hf" or known.is_folder
        changed = {each.tensor.name for each in written if len(each.parts) > 1}
        packing = quantization_config(
            scheme, plain_modules(source.side.place, tensors, changed)
        )
        dtype = computing_dtype(scheme)
        files, notes = folder_files(known, dtype, is_hf, packing)
        notes = [*filter(None, [loading_note(scheme)]), *notes]
    outgoing = [part for each in written for part in each.parts]
    record = f"quantize {scheme} of {os.path.basename(name)}"
    words = {"format": "pt", "explorer.transform": record}
    write_outgoing(
        path, form, is_folder, Outgoing(outgoing, words=words, files=files), settings
    )
    note = linear_scheme(wanted.name, wanted.options).note
    changes = tuple(_change(each, wanted.name) for each in written)
    return Change(
        transform=f"quantize {scheme}",
        target=name,
        tensors=changes,
        notes=(*grown_notes(changes), note, *notes),
    )


def _written(
    place: str,
    tensors: list[OutgoingTensor],
    scheme: str,
    wanted: Wanted,
    before: Mapping[str, str],
) -> list[_Written]:
    inventory = outgoing_inventory(place, tensors)
    heads = linear_scheme(wanted.name, wanted.options).heads
    found = []
    for index, each in enumerate(tensors):
        kind, running = inventory.columns.kind(index), RunningDistance()
        group = TensorGroup(path_of(each.name), kind, 1)
        matrix = matrix_of(group, inventory, heads)
        is_linear = matrix is not None and len(each.shape) == 2 and each.dtype in _FLOATS
        parts = [each]
        if is_linear and each.name.endswith(".weight"):
            parts = QuantisedMatrix(place, each, scheme, running).outgoing()
        found.append(
            _Written(each, parts, kind, before.get(each.name, each.dtype), running)
        )
    if all(len(each.parts) == 1 for each in found):
        raise InputError(
            place,
            found=f"has no kernel of a linear layer that {wanted.name} could store",
            expected="attention, feed-forward or expert matrices named ….weight",
        )
    return found


def _change(each: _Written, scheme: str) -> TensorChange:
    kind, found = each.kind, each.running.distance
    size = kind.size if kind.is_parameter else 0
    is_changed = len(each.parts) > 1
    return TensorChange(
        name=name_of(each.tensor.name),
        component=kind.component,
        shape=each.tensor.shape,
        before=each.before,
        after=scheme if is_changed else each.tensor.dtype,
        parameters_before=size,
        parameters_after=size,
        bytes_before=dtypes.find(each.before).nbytes(kind.size),
        bytes_after=sum(part.nbytes for part in each.parts),
        relative_error=None if found is None else found.relative_error,
        snr=None if found is None else found.snr,
        cosine=None if found is None else found.cosine,
        max_abs=None if found is None else found.max_abs,
        note="" if found is None else lost_note(found.relative_error),
    )
