"""Meta's checkpoints: a file for each tensor-parallel rank, with a slice of every matrix.

FairScale cuts the matrices that follow a norm along their outputs, those that lead back into
the residual stream along their inputs, and copies norms to every rank. `params.json` says
how wide the whole ones are: slices that do not add up to it are refused.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from explorer.errors import FormatError, printable
from explorer.formats.registry import reader_of
from explorer.inventory.listing import Listing
from explorer.paths import Key, path_of
from explorer.storage.store import Store

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SLICE", "is_incomplete", "read_slices", "slices_beside", "slices_values"]

SLICE = re.compile(r"consolidated\.([0-9]{2})\.pth")
_PARAMS = "params.json"
_MAX_PARAMS = 100_000  # bytes
_READER = "pytorch"
# the axis along which the ranks hold the parts of a matrix
_OUTPUTS = frozenset(("wq", "wk", "wv", "w1", "w3", "output"))
_INPUTS = frozenset(("wo", "w2"))
_WHOLE = frozenset(("attention_norm", "ffn_norm", "norm", "rope"))
_TABLE = "tok_embeddings"
# names of ranks in the files of other frameworks
_RANK = re.compile(
    r"(?:.*[_-])?(?:rank|model_part)[_-]?([0-9]+)(?:[_-].*)?\.(?:pt|pth|bin|safetensors)"
)
_MEGATRON = re.compile(r"mp_rank_[0-9]{2}(?:_[0-9]{3})*")
_CURE = (
    "take the Hugging Face version of it, or convert it with transformers' "
    "convert_llama_weights_to_hf.py"
)


class _Params(msgspec.Struct):
    """What `params.json` says; `n_kv_heads` is that of the queries where it is not set."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int | None = None
    head_dim: int | None = None

    @property
    def head(self) -> int:
        """The size of one head."""
        return self.head_dim or self.dim // max(self.n_heads, 1)


def slices_beside(path: str, store: Store) -> list[str]:
    """Return a remark for one file of several ranks; none for other files."""
    folder, name = os.path.split(path)
    what, number = name, 0
    if found := SLICE.fullmatch(name) or _RANK.fullmatch(name):
        begin, end = name[: found.start(1)], name[found.end(1) :]
        ranks = re.compile(re.escape(begin) + "[0-9]+" + re.escape(end))
        number = len(list(filter(ranks.fullmatch, store.names(folder or "."))))
    elif _MEGATRON.fullmatch(os.path.basename(folder)):
        what = f"{os.path.basename(folder)}/{name}"
        around = store.folders(os.path.dirname(folder) or ".")
        number = len(list(filter(_MEGATRON.fullmatch, around)))
    if number < 2:
        return []
    return [
        f"{printable(what)} is one of {number} files of ranks, each with a slice of the "
        "matrices: what is counted is this slice, not the model"
    ]


def is_incomplete(path: str, listing: Listing, store: Store) -> list[str]:
    """Return a remark for one slice whose `params.json` says that it is not the whole."""
    folder, name = os.path.split(path)
    if not SLICE.fullmatch(name) or not store.is_file(os.path.join(folder, _PARAMS)):
        return []
    params = _read_params(folder, 1, store)
    heads = params.n_heads * params.head
    rows = [
        shape[0]
        for key, shape in zip(listing.keys, listing.shapes, strict=True)
        if path_of(key)[-2:-1] == ("wq",) and len(shape) == 2
    ]
    if not rows or rows[0] == heads:
        return []
    return [
        f"{printable(name)} is one slice of the model of {_PARAMS}: it has {rows[0]:,} of the "
        f"{heads:,} rows of each wq; what is counted is this slice"
    ]


def read_slices(folder: str, names: Sequence[str], store: Store) -> Listing:
    """Return the listing of the whole model whose slices the files hold.

    Raises:
        FormatError: no params.json says how wide the model is, a name says nothing of how
            it is cut, or the slices do not add up.
    """
    params = _read_params(folder, len(names), store)
    paths = [os.path.join(folder, name) for name in sorted(names)]
    listings = [reader_of(_READER).read(path, store) for path in paths]
    first = listings[0]
    for path, other in zip(paths, listings, strict=True):
        if (other.keys, list(other.shapes)) != (first.keys, list(first.shapes)):
            raise FormatError(
                path,
                found=f"has other names or shapes than {os.path.basename(paths[0])}",
                expected="equal slices in every rank",
                cure="fetch the files again",
            )
    axes = [
        _axis(folder, key, shape, len(names), params)
        for key, shape in zip(first.keys, first.shapes, strict=True)
    ]
    shapes = [
        _joined(shape, axis, len(names))
        for shape, axis in zip(first.shapes, axes, strict=True)
    ]
    _check(folder, dict(zip(first.keys, shapes, strict=True)), params)
    copies = [1 if axis is None else len(names) for axis in axes]
    first.shapes, first.rows, first.ties = shapes, None, []
    first.nbytes = [n * size for n, size in zip(copies, first.nbytes, strict=True)]
    first.file_bytes = sum(listing.file_bytes or 0 for listing in listings)
    first.files = len(names)
    first.remarks = [
        f"{len(names)} tensor-parallel slices are joined, along the axes that their names say "
        f"and to the sizes of {_PARAMS}; norms, which every rank has, count once"
    ]
    return first


def slices_values(
    folder: str, names: Sequence[str], wanted: Callable[[Key], bool], store: Store
) -> "dict[Key, np.ndarray]":
    """Return the wanted arrays of the whole model, joined of their slices."""
    import numpy as np

    whole = read_slices(folder, names, store)
    params = _read_params(folder, len(names), store)
    paths = [os.path.join(folder, name) for name in sorted(names)]
    parts = [reader_of(_READER).values(path, wanted, store) for path in paths]
    arrays = {}
    for key in filter(wanted, whole.keys):
        slices = [part[key] for part in parts]
        axis = _axis(folder, key, slices[0].shape, len(names), params)
        arrays[key] = slices[0] if axis is None else np.concatenate(slices, axis)
    return arrays


def _read_params(folder: str, ranks: int, store: Store) -> _Params:
    path = os.path.join(folder, _PARAMS)
    if not store.is_file(path):
        raise _refused(folder, ranks, f"and no {_PARAMS}, which says how wide it is")
    try:
        return msgspec.json.decode(store.read_whole(path, _MAX_PARAMS), type=_Params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(
            path, found=f"is not one of Meta's ({error})", expected="dim, n_layers, n_heads"
        ) from None


def _axis(
    folder: str, key: Key, shape: tuple[int, ...], ranks: int, params: _Params
) -> int | None:
    """Return the axis along which a tensor is cut; None for one that every rank has whole."""
    module, leaf = ("", *path_of(key))[-2:]
    if module in _WHOLE or leaf == "freqs":
        return None
    if leaf == "weight" and len(shape) == 2:
        if module in _OUTPUTS:
            return 0
        if module in _INPUTS:
            return 1
        if (
            module == _TABLE
        ):  # Llama 3 cuts the rows of its table, those before it the columns
            return 0 if shape[1] == params.dim else 1
    raise _refused(
        folder, ranks, f"and nothing says how {printable(str(key))} {list(shape)} is cut"
    )


def _joined(shape: tuple[int, ...], axis: int | None, ranks: int) -> tuple[int, ...]:
    return tuple(size * ranks if n == axis else size for n, size in enumerate(shape))


def _check(folder: str, shapes: dict[Key, tuple[int, ...]], params: _Params) -> None:
    """Refuse slices that do not add up to the sizes of `params.json`."""
    queries = params.n_heads * params.head
    values = (params.n_kv_heads or params.n_heads) * params.head
    expected = {"wq": (queries, params.dim), "wo": (params.dim, queries)}
    expected |= dict.fromkeys(("wk", "wv"), (values, params.dim))
    layers = set()
    for key, shape in shapes.items():
        first, *inner = path_of(key)
        module = inner[-2] if len(inner) > 1 else ""
        wanted = expected.get(module)
        if wanted is None and len(shape) == 2:  # one side is the residual stream
            wanted = shape if params.dim in shape else (params.dim,)
        if first == "layers":
            layers.update(inner[:1])
        if wanted is not None and shape != wanted:
            raise FormatError(
                folder,
                found=f"slices of {printable(str(key))} add up to {list(shape)}",
                expected=f"{list(wanted)}, by {_PARAMS}",
                cure="fetch the missing files",
            )
    if len(layers) != params.n_layers:
        raise FormatError(
            folder,
            found=f"has {len(layers)} layers",
            expected=f"{params.n_layers}, by {_PARAMS}",
        )


def _refused(folder: str, ranks: int, why: str) -> FormatError:
    return FormatError(
        folder,
        found=f"is one of Meta's checkpoints in {ranks} tensor-parallel shards, {why}",
        expected="Llama's names, and slices that add up to its sizes",
        cure=_CURE,
    )
