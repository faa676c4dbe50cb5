"""Which tensors of a PyTorch file share bytes, and which bytes no tensor uses.

A tensor is a view: an offset, sizes and strides over a storage. Tied tensors are views of
one range. A view may also cover a part of its storage only, and torch.save writes the
complete storage.
"""

from typing import NamedTuple

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats.pytorch.records import Tensor
from explorer.formats.pytorch.storages import TorchCheckpoint
from explorer.formats.pytorch.tree import TorchLeaf
from explorer.inventory.tensor import Tie
from explorer.paths import Key, name_of

__all__ = ["Views", "measure", "shared"]

BY = "same storage in the file"
MAX_REMARKS = 5
MAX_ELEMENTS = 1 << 59  # of 16 bytes: what a 63-bit address reaches
_MOST_FORMS = 512  # hashes of tuples of numbers can be made to collide
_Form = tuple[tuple[int, ...], tuple[int, ...]]


class _Extent(NamedTuple):
    """Of a shape and stride: elements, elements from first to last, and whether these agree."""

    size: int
    span: int
    dense: bool


class _View(NamedTuple):
    """The bytes of its storage that a listed tensor reaches."""

    begin: int
    end: int
    dense: bool
    number: int


Views = dict[str, list[_View]]


def measure(
    checkpoint: TorchCheckpoint, leaves: list[TorchLeaf]
) -> tuple[list[int], Views]:
    """Return each tensor's bytes, and the views of each storage by its key.

    Raises:
        FormatError: a storage is missing or smaller than the pickle says, or a tensor
            reaches beyond its storage.
    """
    extents: dict[_Form, _Extent] = {}
    widths: dict[str, dtypes.DType] = {}
    sizes, nbytes = checkpoint.sizes, []
    views: Views = {}
    for index, leaf in enumerate(leaves):
        tensor = leaf.tensor
        if type(tensor) is not Tensor:
            nbytes.append(len(tensor.data))  # pyright: ignore
            continue
        form = (tensor.shape, tensor.stride)
        extent = extents.get(form)
        if extent is None:
            extent = _extent(*form)
            if len(extents) < _MOST_FORMS:
                extents[form] = extent
        dtype = widths.get(tensor.dtype)
        if dtype is None:
            dtype = widths[tensor.dtype] = dtypes.find(tensor.dtype)
        size, span, dense = extent
        if span < 0:
            raise _too_large(checkpoint, leaves[index])
        storage = tensor.storage
        if storage is None:
            nbytes.append(0)
            continue
        begin = storage.start * storage.unit + dtype.nbytes(tensor.offset)
        end = begin + dtype.nbytes(span)
        claimed, stored = storage.size * storage.unit, sizes.get(storage.key, -1)
        if stored < claimed or (span and end > claimed):
            raise _refuse(checkpoint, leaves[index], end)
        # a tensor whose strides repeat elements takes no more bytes than it reaches
        nbytes.append(dtype.nbytes(min(span, size)))
        view = _View(begin, end, dense, index)
        if storage.key in views:
            views[storage.key].append(view)
        else:
            views[storage.key] = [view]
    return nbytes, views


def _extent(shape: tuple[int, ...], stride: tuple[int, ...]) -> _Extent:
    """Measure a shape and stride; a span of -1 means more elements than can exist."""
    size, span, dense = 1, 1, True
    for step, length in sorted(zip(stride, shape, strict=True)):
        if length > 1:
            dense = dense and step == size
            size *= length
            span += (length - 1) * step
            if size > MAX_ELEMENTS:
                return _Extent(size, -1, False)
    return _Extent(size, span, dense) if 0 not in shape else _Extent(0, 0, True)


def _too_large(checkpoint: TorchCheckpoint, leaf: TorchLeaf) -> FormatError:
    return FormatError(
        checkpoint.path,
        found=f"tensor {_shown(leaf.key)} has shape {printable(leaf.tensor.shape, 60)}",
        expected="fewer elements than 2**59",
    )


def _refuse(checkpoint: TorchCheckpoint, leaf: TorchLeaf, end: int) -> FormatError:
    assert isinstance(leaf.tensor, Tensor)
    assert leaf.tensor.storage is not None
    name, storage = _shown(leaf.key), leaf.tensor.storage
    stored, key = checkpoint.sizes.get(storage.key), printable(storage.key, 40)
    if stored is None:
        found, expected = f"lacks storage {key!r} of tensor {name}", ""
    elif stored < storage.nbytes:
        found = f"holds {stored:,} bytes of storage {key!r}, of tensor {name}"
        expected = f"{storage.nbytes:,}, as its pickle says"
    else:
        found = f"tensor {name} reaches byte {end:,} of its storage {key!r}"
        expected = f"at most {storage.nbytes:,}"
    return FormatError(
        checkpoint.path, found=found, expected=expected, cure="fetch or save it again"
    )


def shared(
    checkpoint: TorchCheckpoint, leaves: list[TorchLeaf], nbytes: list[int], views: Views
) -> tuple[list[Tie], list[str]]:
    """Return the ties of tensors that share bytes, and remarks on views and waste.

    Args:
        checkpoint: the opened file.
        leaves: its tensors.
        nbytes: bytes of each.
        views: the views of each storage, as `measure` returns them.
    """
    ties: list[Tie] = []
    overlaps: list[str] = []
    waste: list[tuple[int, str]] = []
    for key, group in views.items():
        counted = [view.number for view in group]
        if len(group) > 1:
            owners, overlap = _owners(leaves, group)
            overlaps += overlap
            counted = list(owners)
            ties += [
                Tie(tuple(leaves[i].key for i in (owner, *sorted(aliases))), BY, shown=True)
                for owner, aliases in owners.items()
                if aliases
            ]
        used, stored = sum(nbytes[i] for i in counted), checkpoint.sizes[key]
        if used < stored:
            waste.append((stored - used, _waste(leaves, counted, used, stored)))
    waste.sort(key=lambda row: -row[0])
    unused = sum(checkpoint.sizes.values()) - sum(checkpoint.sizes[key] for key in views)
    return ties, [
        *_first(overlaps, "overlapping views"),
        *_first([text for _, text in waste], "storages that are used in part"),
        *([f"{unused:,} stored bytes belong to no listed tensor"] if unused else []),
    ]


def _owners(
    leaves: list[TorchLeaf], group: list[_View]
) -> tuple[dict[int, list[int]], list[str]]:
    """Return the counted tensors of a storage, each with its aliases, and overlaps."""

    def is_state(view: _View) -> bool:
        return leaves[view.number].collection not in ("", "params")

    def order(view: _View) -> tuple[int, int, bool, bool, int]:
        return view.begin, -view.end, not view.dense, is_state(view), view.number

    owners: dict[int, list[int]] = {}
    same: dict[tuple, int] = {}
    overlaps: list[str] = []
    cover: _View | None = None  # the dense view that reaches furthest
    last: _View | None = None  # the counted view that reaches furthest
    for view in sorted((v for v in group if v.end > v.begin), key=order):
        tensor = leaves[view.number].tensor
        form = (view.begin, str(tensor.shape), str(tensor.stride), tensor.dtype)  # pyright: ignore
        covered = cover is not None and view.end <= cover.end
        if cover and covered and is_state(view) >= is_state(cover):
            owners[cover.number].append(view.number)
            continue
        if form in same:
            owners[same[form]].append(view.number)
            continue
        if last is not None and view.begin < last.end:
            one, other = leaves[last.number], leaves[view.number]
            if not _are_disjoint(one.tensor, other.tensor):  # pyright: ignore
                overlaps.append(
                    f"{_name(one.key)} and {_name(other.key)} are overlapping views "
                    "of one storage and both are counted"
                )
        owners[view.number] = []
        same[form] = view.number
        cover = view if view.dense and not covered else cover
        last = view if last is None or view.end > last.end else last
    return owners, overlaps


def _are_disjoint(one: Tensor, other: Tensor) -> bool:
    """Whether two views of one grid, such as chunks along an axis, share no element."""
    if one.stride != other.stride or one.dtype != other.dtype:
        return False
    if (
        one.storage is None
        or other.storage is None
        or one.storage.start != other.storage.start
    ):
        return False
    at_one, at_other = one.offset, other.offset
    row, disjoint = None, False
    axes = sorted(zip(one.stride, one.shape, other.shape, strict=True), reverse=True)
    for stride, length, other_length in axes:
        if stride == 0 or (row is not None and row % stride):
            return False
        here, at_one = divmod(at_one, stride)
        there, at_other = divmod(at_other, stride)
        ends = here + length, there + other_length
        if row is not None and max(ends) > row // stride:
            return False
        disjoint = disjoint or ends[0] <= there or ends[1] <= here
        row = stride
    return disjoint or at_one != at_other


def _waste(leaves: list[TorchLeaf], counted: list[int], used: int, stored: int) -> str:
    first = _name(leaves[counted[0]].key) if counted else "a tensor without elements"
    others = f" and {len(counted) - 1:,} more" if len(counted) > 1 else ""
    verb = "use" if others else "uses"
    return (
        f"{first}{others} {verb} {used:,} of the {stored:,} bytes of a storage that the file "
        "stores in full; save a clone() to drop the rest"
    )


def _first(remarks: list[str], what: str) -> list[str]:
    rest = len(remarks) - MAX_REMARKS
    return remarks[:MAX_REMARKS] + ([f"{rest:,} more {what}"] if rest > 0 else [])


def _name(key: Key) -> str:
    return printable(name_of(key), 80)


def _shown(key: Key) -> str:
    return repr(_name(key))
