"""A subject and a workload -> the bytes of its weights, type by type."""

from msgspec.structs import replace

from explorer import dtypes
from explorer.errors import InputError
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import BUFFER_COLLECTIONS
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Workload
from explorer.sizing.subject import Subject
from explorer.sizing.weights.groups import (
    LOGICAL,
    declared,
    groups_of,
    is_packed,
    is_routed,
    share_of,
)
from explorer.sizing.weights.published import published_weights, unread_method
from explorer.sizing.weights.totals import Piece, Tally, Weights

__all__ = ["weights_of"]

_LARGEST_PLAIN_BLOCK = 8  # of 3-bit integers


def weights_of(
    subject: Subject, workload: Workload, placement: Placement, prune: str | None = None
) -> Weights:
    """Return the bytes of a subject's weights, as a workload wants them stored.

    With `quantize`, under that scheme; with `dtype`, every parameter cast; with neither, as
    the file stores them, or as the model is published. With `prune` ("2:4", "0.5:csr"),
    kernels of layers without their zeros.

    Raises:
        InputError: a scheme or a pattern that does not exist, or that the subject cannot have.
    """
    if prune is not None:
        return _pruned(subject, workload, placement, prune)
    if workload.quantize is not None:
        return _quantised(subject, workload, placement)
    if workload.dtype is not None:
        _check_plain(workload.dtype)
        return _cast(subject, workload.dtype, placement)
    if not subject.inventory.is_declared:
        return _stored(subject, placement)
    published = None if workload.train else published_weights(subject, placement)
    if published is not None:
        return published
    found = _cast(subject, None, placement)
    method = unread_method(subject.inventory)
    return _unpacked(found, method) if method and not workload.train else found


def _unpacked(weights: Weights, method: str) -> Weights:
    """Return weights as they are before packing, where nothing says how they are packed."""
    elements = sum(total.elements for total in weights.by_type.values())
    return replace(
        weights,
        provenance=f"assumed (as before packing: {method} has no rule here)",
        note=f"its config says {method} weights, which take less",
        low=elements // 8,  # a bit each
    )


def _check_plain(dtype: str) -> None:
    """Raise an InputError for a block format, which not every parameter can be cast to."""
    if dtype in ("nf4", "fp4") or dtypes.find(dtype).block > _LARGEST_PLAIN_BLOCK:
        raise InputError(
            "dtype",
            found=f"{dtype} is a format of blocks with scales",
            expected="a dtype of single values, such as bfloat16",
            cure=f"--quantize {dtype if dtype in ('nf4', 'fp4') else dtype.upper() + ':pure'}",
        )


def _buffers(inventory: Inventory) -> int:
    return inventory.total(lambda k: k.nbytes, lambda k: k.collection in BUFFER_COLLECTIONS)


def _tally(subject: Subject, placement: Placement) -> Tally:
    """Return an empty tally; without a placement for a file whose names no sharding rule knows."""
    own = subject.inventory.is_declared or subject.architecture is None
    return Tally(placement if own else Placement())


def _cast(subject: Subject, dtype: str | None, placement: Placement) -> Weights:
    """Return every parameter in one dtype, or each in its own."""
    inventory, tally = subject.inventory, _tally(subject, placement)
    for group in groups_of(inventory, placement.devices > 1):
        kind = group.kind
        if kind.is_parameter:
            name = dtype or kind.dtype
            piece = Piece(name, kind.size, dtypes.find(name).nbytes(kind.size))
            share = share_of(group, inventory)
            tally.add(piece, group.path, kind.shape, group.number, share)
    note = f"every parameter in {dtype}" if dtype else "every parameter in its own dtype"
    if dtype is not None and dtypes.find(dtype).bits <= 8:
        note = f"{note}, without scales"
    if dtype is not None and is_packed(inventory):
        note = f"{note}, {LOGICAL}"
    return tally.weights(
        "exact", note, routed=is_routed(inventory), buffers=_buffers(inventory)
    )


def _stored(subject: Subject, placement: Placement) -> Weights:
    """Return what the tensors of a file or a tree take as they are."""
    from explorer.sizing.weights.gguf_blocks import TYPES, block_piece

    inventory, tally = subject.inventory, _tally(subject, placement)
    for group in groups_of(inventory, placement.devices > 1):
        kind = group.kind
        if kind.collection == "quantization":
            piece = Piece(f"scales ({kind.dtype})", 0, 0, kind.nbytes)
        elif not kind.is_parameter:
            continue
        elif kind.dtype in TYPES and kind.nbytes == dtypes.find(kind.dtype).nbytes(
            kind.size
        ):
            piece = block_piece(kind.dtype, kind.shape)
        else:
            piece = Piece(kind.dtype, kind.size, kind.nbytes)
        tally.add(piece, group.path, kind.shape, group.number, share_of(group, inventory))
    note = "as its tensors store them"
    return tally.weights(
        "exact", note, routed=is_routed(inventory), buffers=_buffers(inventory)
    )


def _quantised(subject: Subject, workload: Workload, placement: Placement) -> Weights:
    from explorer.sizing.weights.parsing import parse_scheme

    assert workload.quantize is not None
    wanted = parse_scheme(workload.quantize)
    if wanted.gguf:
        from explorer.sizing.weights.gguf_files import gguf_weights

        return gguf_weights(subject, wanted, placement)
    from explorer.sizing.weights.linear import linear_weights
    from explorer.sizing.weights.schemes import linear_scheme

    scheme = linear_scheme(wanted.name, wanted.options)
    return linear_weights(subject, scheme, workload.dtype, placement)


def _pruned(
    subject: Subject, workload: Workload, placement: Placement, prune: str
) -> Weights:
    from explorer.sizing.weights.linear import linear_weights
    from explorer.sizing.weights.parsing import parse_scheme
    from explorer.sizing.weights.pruning import parse_pruning, pruned_scheme
    from explorer.sizing.weights.schemes import linear_scheme

    pruning = parse_pruning(prune)
    base = workload.dtype or declared(subject).columns.kinds[0].dtype
    if workload.quantize is not None:
        wanted = parse_scheme(workload.quantize)
        if wanted.gguf and pruning.stored != "dense":
            raise InputError(
                "prune",
                found=f"{prune} with {workload.quantize}: GGUF has no sparse tensors",
                expected="a scheme for linear layers such as int8 or nf4, or 0.5:dense",
            )
        if wanted.gguf:
            return weights_of(subject, workload, placement)
        base = linear_scheme(wanted.name, wanted.options)
    found = linear_weights(subject, pruned_scheme(pruning, base), workload.dtype, placement)
    holds = "scales, and indices" if workload.quantize else "indices"
    return replace(found, scales_are=f"{holds} of the elements that are kept")
