"""A target -> a GGUF file by one of llama.cpp's mixes, a tensor at a time."""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from explorer import dtypes
from explorer.conversion.encoding import check_encoders, encoded
from explorer.conversion.gguf_pairs import gguf_metadata
from explorer.conversion.known import Known, known_of
from explorer.conversion.models import ModelSource
from explorer.conversion.settings import SaveSettings
from explorer.conversion.values import ValueSource, source_of
from explorer.conversion.writing import Outgoing, check_free, write_outgoing
from explorer.errors import InputError, first_few
from explorer.formats.casting import parts_of
from explorer.formats.gguf.key_values import GgufValue
from explorer.formats.writing import OutgoingTensor
from explorer.inventory.tensor import Kind
from explorer.paths import Key, name_of
from explorer.sizing.weights.gguf_blocks import MIXES, TYPES, fitting_type
from explorer.sizing.weights.gguf_files import tensor_types
from explorer.sizing.weights.gguf_tensors import GgufTensor, is_quantised, stored_in_gguf
from explorer.sizing.weights.parsing import Wanted
from explorer.targets.records import Target
from explorer.transforms.measure import lost_note
from explorer.transforms.records import Change, TensorChange, grown_notes
from explorer.transforms.running import RunningDistance

if TYPE_CHECKING:
    import numpy as np


__all__ = ["as_stored", "check_unquantised", "quantise_to_gguf"]

_UNIFORM = ("F32", "F16", "BF16", "Q8_0")  # mixes that give every matrix one type
_PLAIN = ("float32", "float16", "bfloat16")


class _Encoded(NamedTuple):
    """A tensor to be written, what it was, and how far it is from that."""

    tensor: OutgoingTensor
    before: str
    before_bytes: int
    running: RunningDistance


def quantise_to_gguf(
    target: Target, path: str, wanted: Wanted, settings: SaveSettings, name: str
) -> Change:
    """Write a target as a GGUF file whose matrices are quantised as llama.cpp does.

    Args:
        target: a checkpoint, or a tree whose model is known.
        path: of the new file.
        wanted: one of llama.cpp's schemes.
        settings: of the writing.
        name: what the record calls the target.

    Raises:
        InputError: a target that cannot be read or is quantised in another way, a type that
            explorer does not encode, weights that are not finite, a path that exists or cannot
            be written; one line says which.
    """
    check_free(path)
    source = source_of(target)
    source.side.select(settings.select)
    known = known_of(target, source, settings)
    check_unquantised(known, source)
    is_model = not source.format.startswith("gguf")
    made = _of_model(source, known, wanted) if is_model else _of_gguf(source, known, wanted)
    check_encoders({each.tensor.dtype for each in made})
    tensors = [each.tensor for each in made]
    shapes = {each.name: each.shape for each in tensors}
    kind = wanted.name if wanted.name in MIXES else _mix_of(wanted.name)
    pairs, notes = gguf_metadata(path, known, shapes, tensors, is_model, kind)
    done = f"quantize {wanted.name}{':pure' if wanted.pure else ''}"
    record = f"{done} of {os.path.basename(name)}"
    pairs |= {"explorer.transform": GgufValue("string", record)}
    write_outgoing(path, "gguf", False, Outgoing(tensors, pairs), settings)
    again = {each.before for each in made if dtypes.find(each.before).block > 1}
    if again:
        notes.append(f"quantised again from {first_few(sorted(again))}: losses add up")
    changes = _changes(path, made)
    return Change(
        transform=done, target=name, tensors=changes, notes=(*grown_notes(changes), *notes)
    )


def check_unquantised(known: Known, source: ValueSource) -> None:
    """Refuse weights that are small integers, or words of them, already.

    Raises:
        InputError: they are.
    """
    packing = (known.config or {}).get("quantization_config")
    if packing or source.side.scaled:
        method = packing.get("quant_method") if isinstance(packing, Mapping) else None
        raise InputError(
            source.side.place,
            found=f"is quantised already ({method or 'integers with scales'})",
            expected="weights in float formats, or a GGUF file",
            cure="quantise the original",
        )


def _of_model(source: ValueSource, known: Known, wanted: Wanted) -> list[_Encoded]:
    if known.architecture is None:
        raise InputError(
            source.side.place,
            found="has no architecture, by which its tensors would get llama.cpp's names",
            expected="a config.json beside it, or a GGUF file",
            cure=known.why or "give one with --like FOLDER",
        )
    model = ModelSource(source, known.architecture)
    stored = dict(stored_in_gguf(known.architecture))
    model.check(stored)
    from explorer.architectures.rotary_factors import rope_factors

    made = []
    factors = rope_factors(known.architecture)
    for tensor, kind in tensor_types(known.architecture, wanted):
        if tensor.name in factors:
            values = factors[tensor.name]
            out = OutgoingTensor(
                tensor.name, "float32", tensor.shape, lambda v=values: iter([v])
            )
            made.append(_Encoded(out, "float32", out.nbytes, RunningDistance()))
            continue
        each = stored[tensor.name]
        plain = model.outgoing(tensor.name, each, "float32")
        before = model.before[tensor.name]
        size = dtypes.find(before).nbytes(plain.nbytes // 4)
        running = RunningDistance()
        if kind == "float32":
            made.append(_Encoded(plain, before, size, running))
            continue
        out = encoded(
            source.side.place,
            tensor.name,
            tensor.shape,
            kind,
            lambda each=each: model.arrays(each),
            running,
            source.release,
        )
        made.append(_Encoded(out, before, size, running))
    return made


def _of_gguf(source: ValueSource, known: Known, wanted: Wanted) -> list[_Encoded]:
    kinds = _types_of_file(source, known, wanted)
    made = []
    for key, each in source.side.tensors.items():
        name, running = name_of_key(key), RunningDistance()
        size = dtypes.find(each.dtype).nbytes(_count(each.shape))
        kind = kinds.get(name, each.dtype)
        if kind == each.dtype:
            out = as_stored(source, key, name, kind)
        elif kind in _PLAIN and len(each.shape) < 2:
            out = _cast(source, key, name, kind)
        else:
            arrays = lambda key=key: iter([source.array(key)])  # noqa: E731
            place = source.side.place
            out = encoded(place, name, each.shape, kind, arrays, running, source.release)
        made.append(_Encoded(out, each.dtype, size, running))
    return made


def name_of_key(key: Key) -> str:
    """Return a GGUF file's key, which is a text."""
    return key if isinstance(key, str) else name_of(key)


def _count(shape: tuple[int, ...]) -> int:
    size = 1
    for each in shape:
        size *= each
    return size


def _types_of_file(source: ValueSource, known: Known, wanted: Wanted) -> dict[str, str]:
    """Return the type of each matrix of a file; norms and biases keep theirs."""
    if known.architecture is not None:
        types = tensor_types(known.architecture, wanted)
        named = {tensor.name: kind for tensor, kind in types}
        if named.keys() >= {name_of_key(key) for key in source.side.tensors}:
            return named
    if not (wanted.pure or wanted.name in _UNIFORM):
        raise InputError(
            source.side.place,
            found=f"is of no architecture that the mixing rule of {wanted.name} is known for",
            expected="a model that explorer knows",
            cure=f"{wanted.name}:pure gives every matrix one type",
        )
    default = wanted.name if wanted.name in TYPES else MIXES[wanted.name]
    found = {}
    for key, each in source.side.tensors.items():
        name = name_of_key(key)
        if is_quantised(GgufTensor(name, each.shape, ())):
            found[name] = fitting_type(default, each.shape[-1]) or "float16"
    return found


def as_stored(source: ValueSource, key: Key, name: str, kind: str) -> OutgoingTensor:
    """Return a tensor that keeps its type: its bytes as they are."""
    shape = source.side.tensors[key].shape

    def parts() -> "Iterator[np.ndarray]":
        if dtypes.find(kind).block > 1:
            yield from parts_of(source.side.blocks([key])[key].raw, after=source.release)
        else:
            yield from parts_of(source.array(key), after=source.release)

    return OutgoingTensor(name, kind, shape, parts)


def _cast(source: ValueSource, key: Key, name: str, kind: str) -> OutgoingTensor:
    def parts() -> "Iterator[np.ndarray]":
        yield from parts_of(source.array(key), kind, after=source.release)

    return OutgoingTensor(name, kind, source.side.tensors[key].shape, parts)


def _mix_of(kind: str) -> str:
    """Return the mix whose matrices are mostly of a type."""
    return next((mix for mix, main in MIXES.items() if main == kind), "")


def _changes(path: str, made: list[_Encoded]) -> tuple[TensorChange, ...]:
    from explorer.targets import resolve
    from explorer.targets.inventories import inventory_of

    columns = inventory_of(resolve(path)).columns
    kinds = {name_of(key): columns.kind(index) for index, key in enumerate(columns.keys)}
    return tuple(_change(each, kinds[name_of(each.tensor.name)]) for each in made)


def _change(each: _Encoded, kind: Kind) -> TensorChange:
    tensor, found = each.tensor, each.running.distance
    size = kind.size if kind.is_parameter else 0
    return TensorChange(
        name=name_of(tensor.name),
        component=kind.component,
        shape=tensor.shape,
        before=each.before,
        after=tensor.dtype,
        parameters_before=size,
        parameters_after=size,
        bytes_before=each.before_bytes,
        bytes_after=tensor.nbytes,
        relative_error=None if found is None else found.relative_error,
        snr=None if found is None else found.snr,
        cosine=None if found is None else found.cosine,
        max_abs=None if found is None else found.max_abs,
        note="" if found is None else lost_note(found.relative_error),
    )
