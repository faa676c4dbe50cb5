"""What quantising a model would change, tensor by tensor, from shapes alone: no weights, no arrays."""

from collections.abc import Iterator

from explorer import dtypes
from explorer.errors import InputError
from explorer.identify.assemble import assemble
from explorer.inventory.inventory import Inventory
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import Kind
from explorer.paths import Key, name_of, path_of
from explorer.sizing.subject import Subject
from explorer.sizing.weights.gguf_files import tensor_types
from explorer.sizing.weights.groups import TensorGroup, declared, is_packed, matrix_of
from explorer.sizing.weights.parsing import Wanted, parse_scheme
from explorer.sizing.weights.schemes import LinearScheme, linear_scheme, settled
from explorer.transforms.records import Change, TensorChange, grown_notes

__all__ = ["planned_change"]

_LINEAR = ("safetensors", "pytorch")  # formats whose kernels are [outputs, inputs]


def planned_change(subject: Subject, scheme: str) -> Change:
    """Return what a scheme would make of a subject's tensors; sizes are exact.

    Raises:
        InputError: no such scheme, or a model that it cannot store.
    """
    wanted = parse_scheme(scheme)
    if wanted.gguf and subject.architecture is not None:
        tensors = tuple(_as_gguf(subject, wanted))
    elif wanted.gguf:
        tensors = tuple(_uniform(subject, wanted))
    else:
        linear = linear_scheme(wanted.name, wanted.options)
        tensors = tuple(_linear(_as_stored(subject), linear, _group(wanted)))
    notes = (
        *grown_notes(tensors),
        "planned from shapes: what is lost shows when it is written",
    )
    words = scheme.strip().partition(":")
    done = f"quantize {wanted.name}{''.join(words[1:])}"
    return Change(transform=done, target=subject.name, tensors=tensors, notes=notes)


def _group(wanted: Wanted) -> int:
    """Return how many inputs share a scale in files of integers; 0 for all, or others."""
    options = settled(wanted.name, wanted.options)
    if wanted.name not in ("int8", "int4") or options.group == 0:
        return 0
    return options.group or (128 if wanted.name == "int4" else 0)


def _as_gguf(subject: Subject, wanted: Wanted) -> Iterator[TensorChange]:
    """Yield the tensors of llama.cpp's file, before it as wide as the model is published."""
    assert subject.architecture is not None
    types = tensor_types(subject.architecture, wanted)
    before = _dtype_of(subject)
    listing = Listing(
        format="gguf v3",
        keys=[tensor.name for tensor, _ in types],
        shapes=[tensor.shape for tensor, _ in types],
        dtypes=[kind for _, kind in types],
        nbytes=[dtypes.find(kind).nbytes(_size(tensor.shape)) for tensor, kind in types],
    )
    columns = assemble(listing, subject.name).columns
    for index, (key, (_, after)) in enumerate(zip(columns.keys, types, strict=True)):
        kind = columns.kind(index)
        size = dtypes.find(before).nbytes(kind.size)
        yield _change(key, kind, before, size, after, kind.nbytes)


def _dtype_of(subject: Subject) -> str:
    """Return the dtype of most of a subject's parameters."""
    sizes: dict[str, int] = {}
    columns = declared(subject).columns
    for number in columns.numbers:
        kind = columns.kinds[number]
        if kind.is_parameter:
            sizes[kind.dtype] = sizes.get(kind.dtype, 0) + kind.size
    return max(sizes, key=lambda name: sizes[name], default="float32")


def _uniform(subject: Subject, wanted: Wanted) -> Iterator[TensorChange]:
    """Yield the tensors of a model without an architecture: one type for every matrix."""
    from explorer.sizing.weights.gguf_files import uniform_type

    inventory = subject.inventory
    for key, kind in _parameters(inventory):
        after = uniform_type(
            TensorGroup(path_of(key), kind, 1), inventory, wanted, subject.name
        )
        yield _change(
            key, kind, kind.dtype, kind.nbytes, after, dtypes.find(after).nbytes(kind.size)
        )


def _as_stored(subject: Subject) -> Inventory:
    """Return the tensors whose kernels are quantised: a file's own, if they are not packed."""
    inventory = subject.inventory
    is_plain = inventory.source.startswith(_LINEAR) and not is_packed(inventory)
    return inventory if is_plain else declared(subject)


def _linear(
    inventory: Inventory, scheme: LinearScheme, together: int
) -> Iterator[TensorChange]:
    """Yield the tensors of safetensors; `together` inputs share a scale of integers, 0 for all."""
    for key, kind in _parameters(inventory):
        group = TensorGroup(path_of(key), kind, 1)
        matrix = matrix_of(group, inventory, scheme.heads)
        sizes = None if matrix is None else scheme.sizes(matrix)
        size = dtypes.find(kind.dtype).nbytes(kind.size)
        if matrix is None or sizes is None:
            # blocks of GGUF have no place in safetensors
            after = "float32" if dtypes.find(kind.dtype).block > 1 else kind.dtype
            stored = dtypes.find(after).nbytes(kind.size)
            yield _change(key, kind, kind.dtype, size, after, stored)
        else:
            if together and matrix.inputs % together:
                raise InputError(
                    name_of(key),
                    found=f"has {matrix.inputs:,} inputs, and {scheme.name} groups of {together}",
                    expected="a group that divides them",
                    cure=f"{scheme.name}:channel",
                )
            stored = matrix.stack * (sizes.values + sizes.scales)
            yield _change(key, kind, kind.dtype, size, scheme.name, stored)


def _parameters(inventory: Inventory) -> Iterator[tuple[Key, Kind]]:
    columns = inventory.columns
    for index, key in enumerate(columns.keys):
        kind = columns.kind(index)
        if index not in columns.aliases and kind.is_parameter:
            yield key, kind


def _change(
    key: Key, kind: Kind, before: str, before_bytes: int, after: str, after_bytes: int
) -> TensorChange:
    return TensorChange(
        name=name_of(key),
        component=kind.component,
        shape=kind.shape,
        before=before,
        after=after,
        parameters_before=kind.size if kind.is_parameter else 0,
        parameters_after=kind.size if kind.is_parameter else 0,
        bytes_before=before_bytes,
        bytes_after=after_bytes,
    )


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for each in shape:
        size *= each
    return size
