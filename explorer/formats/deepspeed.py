"""DeepSpeed's model states: what `mp_rank_00_model_states.pt` says of a model's parameters.

With ZeRO 1 and 2 the file holds the weights. With ZeRO 3 every rank holds a slice of the 32-bit
weights in its optimizer states, and the file has the shapes only: `param_shapes`. Both declare
which tensors are parameters, and `buffer_names` the buffers.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING

from explorer import dtypes
from explorer.errors import FormatError, printable
from explorer.formats import pytorch
from explorer.formats.bounds import MAX_RANK, shape_fault
from explorer.formats.pytorch.records import Tensor
from explorer.formats.pytorch.storages import open_checkpoint
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import Tie
from explorer.paths import Key
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

if TYPE_CHECKING:
    import numpy as np

__all__ = ["read", "values"]

_MASTER = "float32"  # what ZeRO 3 keeps of a parameter, in the optimizer states
_MASTER_BYTES = 4
_Shape = tuple[int, ...]


def read(path: str, store: Store = LOCAL) -> Listing:
    """Return the parameters and buffers that a file of model states declares.

    Raises:
        FormatError: it is not such a file.
        UnsafePickleError: its pickle names something that is not a part of a tensor.
    """
    with paused_gc(), store.blob(path) as blob:
        try:
            root = open_checkpoint(blob).root
        except FormatError as error:
            raise _refuse(path, error.found) from None
        file_bytes = blob.size()
    if not isinstance(root, dict) or not isinstance(root.get("param_shapes"), list | dict):
        if isinstance(root, dict) and isinstance(root.get("module"), dict):
            return pytorch.read(path, store)
        raise _refuse(path, "has no param_shapes and no module")
    ranks = root.get("mp_world_size")
    if isinstance(ranks, int) and ranks > 1:
        raise FormatError(
            path,
            found=f"is one of {ranks:,} tensor-parallel ranks of a DeepSpeed checkpoint: it "
            "holds a slice of every matrix",
            expected="one mp_rank",
            cure="convert the folder with DeepSpeed's ds_to_universal.py",
        )
    groups = [root["param_shapes"], root.get("frozen_param_shapes")]
    shapes = _shapes(path, groups, file_bytes)
    module = root.get("module")
    stored = {
        name: tensor
        for name, tensor in (module.items() if isinstance(module, dict) else ())
        if type(tensor) is Tensor and type(name) is str
    }
    buffers = root.get("buffer_names")
    rows = list(_rows(shapes, stored, _texts(buffers)))
    listing = Listing(
        "deepspeed",
        keys=[name for name, _, _, _ in rows],
        shapes=[shape for _, shape, _, _ in rows],
        dtypes=[dtype for _, _, dtype, _ in rows],
        nbytes=[dtypes.find(dtype).nbytes(prod(shape)) for _, shape, dtype, _ in rows],
        collections=[collection for _, _, _, collection in rows],
        typed=True,
        ties=_ties(root.get("shared_params"), stored, [name for name, _, _, _ in rows]),
        file_bytes=file_bytes,
        files=1,
    )
    sliced = sum(
        name not in stored or stored[name].shape != shapes[name] for name in shapes
    )
    if sliced:
        listing.remarks.append(
            f"ZeRO 3: {sliced:,} shapes without values here; the ranks' optim_states hold "
            f"slices of them in {_MASTER} (zero_to_fp32.py joins them)"
        )
    return listing


def values(
    path: str, wanted: Callable[[Key], bool], store: Store = LOCAL
) -> "dict[Key, np.ndarray]":
    """Return the wanted tensors that the file holds itself.

    Raises:
        FormatError: as `read`; also for a parameter whose slices are in other files.
    """
    listing = read(path, store)
    names = {key for key in listing.keys if wanted(key)}
    if any("ZeRO 3" in remark for remark in listing.remarks):
        raise FormatError(
            path,
            found="the values are slices in the ranks' optim_states",
            cure="join them with zero_to_fp32.py",
        )
    prefix = ("module",)
    arrays = pytorch.values(
        path, lambda key: key[:1] == prefix and _joined(key) in names, store
    )
    return {_joined(key): array for key, array in arrays.items()}


def _joined(key: Key) -> str:
    return key if isinstance(key, str) else ".".join(key[1:])


def _refuse(path: str, fault: str) -> FormatError:
    return FormatError(
        path,
        found=f"should hold the model states of a DeepSpeed checkpoint: {fault}",
        cure="copy the folder again, or convert it with its zero_to_fp32.py",
    )


def _shapes(path: str, groups: list[object], file_bytes: int) -> dict[str, _Shape]:
    """Return the shape of every parameter: of the groups that are trained, and frozen ones."""
    shapes: dict[str, _Shape] = {}
    flat = [
        part for group in groups for part in (group if isinstance(group, list) else [group])
    ]
    # one group may be listed again and again
    if sum(len(group) for group in flat if isinstance(group, dict)) > 4 * file_bytes:
        raise _refuse(path, "its param_shapes repeat far beyond its own length")
    for group in flat:
        for name, shape in group.items() if isinstance(group, dict) else ():
            sizes = shape if isinstance(shape, tuple) else None
            if (
                not isinstance(name, str)
                or sizes is None
                or (len(sizes) <= MAX_RANK and not all(map(_is_natural, sizes)))
            ):
                raise _refuse(path, f"{printable(name, 80)!r} has no shape")
            if fault := shape_fault(sizes, _MASTER_BYTES):
                raise _refuse(path, f"{printable(name, 80)!r} has {fault}")
            shapes[name] = sizes
    if not shapes:
        raise _refuse(path, "its param_shapes are empty")
    return shapes


def _is_natural(number: object) -> bool:
    return type(number) is int and number >= 0


def _texts(names: object) -> set[str]:
    return (
        {name for name in names if type(name) is str} if isinstance(names, list) else set()
    )


def _rows(
    shapes: dict[str, _Shape], stored: dict[str, Tensor], buffers: set[str]
) -> Iterator[tuple[str, _Shape, str, str]]:
    """Yield name, shape, format and collection: parameters first, then buffers and aliases."""
    for name, shape in shapes.items():
        tensor = stored.get(name)
        is_there = tensor is not None and tensor.shape == shape
        yield name, shape, tensor.dtype if tensor and is_there else _MASTER, "params"
    for name, tensor in stored.items():
        if name not in shapes and (name in buffers or tensor.shape != (0,)):
            yield name, tensor.shape, tensor.dtype, "buffers" if name in buffers else ""


def _ties(shared: object, stored: dict[str, Tensor], names: list[str]) -> list[Tie]:
    """Return the tensors that are one: of `shared_params`, or views of one storage."""
    known = set(names)
    owners: dict[object, list[str]] = {}
    for name in names:
        tensor, storage = stored.get(name), stored[name].storage if name in stored else None
        if tensor and storage and 0 not in tensor.shape:
            # as text: hashes of tuples of numbers can be made to collide
            form = f"{storage.key}:{storage.start}:{tensor.offset}:{tensor.shape}{tensor.stride}"
            owners.setdefault(form, []).append(name)
    ties = [
        Tie(tuple(group), "same storage in the file", shown=True)
        for group in owners.values()
        if len(group) > 1
    ]
    tied = {name for tie in ties for name in tie.keys}
    for name, owner in shared.items() if isinstance(shared, dict) else ():
        if type(name) is not str or type(owner) is not str or name in tied:
            continue
        if name in known and owner in known:
            ties.append(Tie((owner, name), "shared_params in the file", shown=True))
    return ties
