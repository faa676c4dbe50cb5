"""Records of PyTorch's tensors and storages, and how a pickle's calls become them.

The arguments are those of the functions in torch._utils (PyTorch 2.13). The records hold
what those functions would build; nothing is built.
"""

import msgspec

from explorer import dtypes
from explorer.formats.bounds import MAX_RANK, shape_fault
from explorer.formats.pytorch.machine import BrokenError, Global, describe

__all__ = [
    "FP4_PAIR",
    "STORAGES",
    "Sparse",
    "Storage",
    "Tensor",
    "make_fp4",
    "make_meta",
    "make_of_type",
    "make_quantised",
    "make_sparse",
    "make_tensor",
    "make_tensor_v2",
    "make_tensor_v3",
    "storage_of",
]

_LIMIT = 1 << 63


class Storage(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A run of bytes outside the pickle: `size` units of `unit` bytes.

    `start` counts the units before a view of it, as files before PyTorch 0.4 have them.
    """

    key: str
    dtype: str
    unit: int
    size: int
    start: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes that it takes, by the pickle."""
        return self.size * self.unit


class Tensor(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A view of a storage; `storage` is None for a tensor on the meta device.

    `offset` and `stride` are in elements. `scales` are the tensors that a tensor
    quantised by channel has with it. `learned` is PyTorch's requires_grad.
    """

    storage: Storage | None
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str
    flags: tuple[str, ...] = ()
    scales: "dict[str, Tensor] | None" = None
    learned: bool = False


class Sparse(msgspec.Struct, frozen=True, eq=False):
    """A sparse tensor: its layout ("coo", "csr", ...), its dense shape, and what is stored."""

    layout: str
    shape: tuple[int, ...]
    values: Tensor
    indices: dict[str, Tensor]


# Class, its format by PyTorch's name, bytes of a unit
_CLASSES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
    "ComplexDoubleStorage": ("complex128", 16),
    "ComplexFloatStorage": ("complex64", 8),
    "QInt8Storage": ("qint8", 1),
    "QInt32Storage": ("qint32", 4),
    "QUInt8Storage": ("quint8", 1),
    "QUInt4x2Storage": ("quint4x2", 1),
    "QUInt2x4Storage": ("quint2x4", 1),
    "UntypedStorage": ("uint8", 1),
    "_UntypedStorage": ("uint8", 1),
}
STORAGES = {
    f"{module}.{name}": form
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, form in _CLASSES.items()
}
FP4_PAIR = "torch.float4_e2m1fn_x2"


def storage_of(identity: object) -> object:
    """Return the record of a persistent id ("storage", class, key, location, size).

    Files before PyTorch 1.6 append None or the view (key, offset, size) of it.
    """
    if type(identity) is not tuple or len(identity) not in (5, 6):
        raise BrokenError("refers to something outside that is not a storage")
    word, of, key, _, size = identity[:5]
    if word not in ("storage", b"storage") or type(of) is not Global:
        raise BrokenError("refers to something outside that is not a storage")
    form = STORAGES.get(of.name)
    if form is None or type(size) is not int or not 0 <= size < _LIMIT:
        raise BrokenError(f"refers to a storage of {describe(of)} that makes no sense")
    if type(key) is not str:
        if type(key) is not int:
            raise BrokenError("refers to a storage by what is not a key")
        key = str(key)
    start = _view_start(identity[5]) if len(identity) == 6 else 0
    return Storage(key, form[0], form[1], size, start)


def _view_start(view: object) -> int:
    if view is None:
        return 0
    if type(view) is not tuple or len(view) != 3 or not _are_naturals(view[1:]):
        raise BrokenError("refers to a view of a storage that makes no sense")
    return view[1]


def _are_naturals(numbers: object) -> bool:
    """Return whether these are valid sizes or strides: naturals, and not too many."""
    if type(numbers) is not tuple or len(numbers) > MAX_RANK:
        return False
    for number in numbers:  # faster than all() where there are one or two
        if type(number) is not int or not 0 <= number < _LIMIT:
            return False
    return True


def make_tensor(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    dtype: str | None = None,
    flags: tuple[str, ...] = (),
    scales: dict[str, Tensor] | None = None,
) -> Tensor:
    """Return the record of a view, whose arguments are checked."""
    if type(storage) is not Storage:
        raise BrokenError("has a tensor without a storage")
    if not _are_naturals(shape) or not _are_naturals(stride):
        raise BrokenError("has a tensor with sizes or strides that are not natural numbers")
    if type(offset) is not int or not 0 <= offset < _LIMIT or len(shape) != len(stride):  # pyright: ignore
        raise BrokenError("has a tensor with an offset or a stride that makes no sense")
    form = dtype or storage.dtype
    if form == "bool" and "neg" in flags:
        raise BrokenError("has a tensor of bools that is to be negated")
    return Tensor(storage, offset, shape, stride, form, flags, scales)  # pyright: ignore


def make_tensor_v2(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    requires_grad: object = False,
    hooks: object = None,
    metadata: object = None,
    *_: object,
) -> Tensor:
    """Return the record for _rebuild_tensor_v2, and for _rebuild_tensor before it."""
    flags = _flags(metadata) if metadata else ()
    tensor = make_tensor(storage, offset, shape, stride, None, flags)
    return (
        msgspec.structs.replace(tensor, learned=True) if requires_grad is True else tensor
    )


def make_tensor_v3(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    requires_grad: object,
    hooks: object,
    dtype: object,
    metadata: object = None,
    *_: object,
) -> Tensor:
    """Return the record of a view with a format of its own."""
    if type(dtype) is Global and dtype.name == FP4_PAIR:
        return make_fp4(make_tensor(storage, offset, shape, stride))
    return make_tensor(
        storage, offset, shape, stride, dtype=_dtype(dtype), flags=_flags(metadata)
    )


def make_fp4(pairs: Tensor) -> Tensor:
    """PyTorch counts pairs of four-bit numbers; here each number counts."""
    if not pairs.shape or pairs.stride[-1] != 1:
        raise BrokenError("has four-bit numbers whose pairs are not contiguous")
    return Tensor(
        pairs.storage,
        2 * pairs.offset,
        (*pairs.shape[:-1], 2 * pairs.shape[-1]),
        (*(2 * stride for stride in pairs.stride[:-1]), 1),
        "float4_e2m1fn",
    )


def make_quantised(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    scheme: object,
    *_: object,
) -> Tensor:
    """Return the record of a view of integers, with the scales that are tensors."""
    # scheme, scales, zero points: numbers, or tensors where each channel has its own
    parts = scheme[1:3] if isinstance(scheme, tuple) else ()
    named = zip(("scales", "zero_points"), parts, strict=False)
    scales: dict[str, Tensor] = {name: part for name, part in named if type(part) is Tensor}
    return make_tensor(storage, offset, shape, stride, scales=scales or None)


def make_meta(dtype: object, shape: object, stride: object, *_: object) -> Tensor:
    """Return the record of a tensor that has a shape and no storage."""
    if not _are_naturals(shape) or not _are_naturals(stride):
        raise BrokenError("has a tensor with sizes or strides that are not natural numbers")
    form = _dtype(dtype)
    _check_shape(shape, form)  # pyright: ignore
    return Tensor(None, 0, shape, stride, form)  # pyright: ignore


def make_sparse(layout: object, parts: object, *_: object) -> Sparse:
    """Return the record of a sparse tensor: its dense size, and the dense tensors that are stored.

    They come in the order of PyTorch's names for them, then the size.
    """
    if type(layout) is not str or type(parts) is not tuple:
        raise BrokenError("has a sparse tensor that makes no sense")
    kind = layout.removeprefix("torch.sparse_")
    names = _SPARSE_PARTS.get(kind)
    if names is None or len(parts) <= len(names):
        raise BrokenError("has a sparse tensor of a layout that is not known")
    stored, size = parts[: len(names)], parts[len(names)]
    if not all(type(part) is Tensor for part in stored) or not _are_naturals(size):
        raise BrokenError("has a sparse tensor without a size or without its parts")
    *indices, values = zip(names, stored, strict=True)
    _check_shape(size, values[1].dtype)  # pyright: ignore
    return Sparse(kind, size, values[1], dict(indices))


_SPARSE_PARTS = {
    "coo": ("indices", "values"),
    "csr": ("crow_indices", "col_indices", "values"),
    "csc": ("ccol_indices", "row_indices", "values"),
    "bsr": ("crow_indices", "col_indices", "values"),
    "bsc": ("ccol_indices", "row_indices", "values"),
}


def make_of_type(function: object, of: object, arguments: object, *_: object) -> object:
    """Return the record of a tensor that is stored with its Python class."""
    # one level: a tensor has one class
    if type(function) is not Global or function.build in (None, make_of_type):
        raise BrokenError("rebuilds a tensor by what is not a function")
    if type(arguments) is not tuple:
        raise BrokenError("rebuilds a tensor without a tuple of arguments")
    return function.build(*arguments)  # pyright: ignore[reportOptionalCall]


def _check_shape(shape: tuple[int, ...], dtype: str) -> None:
    if fault := shape_fault(shape, dtypes.find(dtype).nbytes(1)):
        raise BrokenError(f"has a tensor of {fault}")


def _dtype(named: object) -> str:
    known = type(named) is Global and dtypes.find_torch(named.name.removeprefix("torch."))
    if not known:
        raise BrokenError(f"has a tensor of format {describe(named)}")
    return known.name


def _flags(metadata: object) -> tuple[str, ...]:
    if type(metadata) is not dict:
        return ()
    return tuple(flag for flag in ("conj", "neg") if metadata.get(flag))
