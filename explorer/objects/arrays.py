"""Leaves of a tree -> the columns of a Listing. Elements of arrays are never read."""

import operator
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from explorer import dtypes
from explorer.errors import TreeError
from explorer.inventory.listing import Listing, Logical, Sharding
from explorer.inventory.tensor import PARAMS, Tie
from explorer.objects.shardings import largest_shard, text_of
from explorer.tree.collections import collection_of
from explorer.tree.walk import Leaves, Path, place_of

__all__ = ["Mark", "list_leaves", "name_collections", "without_settings"]


class Mark(NamedTuple):
    """What the nodes above a leaf say about it.

    Attributes:
        collection: given by a Variable or an optimizer's state.
        fallback: the collection if the names do not give one either.
        base: how many leading names are ignored when names give the collection.
        axes: names of the axes, from the box around the array.
        owner: id of the Variable that holds it, and that Variable's depth in the tree.
        arrays_only: other leaves than arrays are settings of a module, not data.
        whole: the quantised tensor whose values an array is.
    """

    collection: str = ""
    fallback: str = ""
    base: int = 0
    axes: str = ""
    owner: tuple[int, int] | None = None
    arrays_only: bool = False
    whole: Any = None


# trees whose collections are names alone: of Flax's, `params` decides
_PLAIN = ("pytree", "haiku parameters")


class _Figures(NamedTuple):
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    kind: str


# returns (shape, dtype) of a leaf
_Reader = Callable[[Any], tuple[Any, Any]]


def list_leaves(leaves: Leaves, form: str) -> Listing:
    """Return the listing of the leaves that `walk` found; every mark is a `Mark`.

    Raises:
        TreeError: a leaf is not an array of numbers; the message names its path.
    """
    leaves = without_settings(leaves)
    figures = _measure(leaves)
    collections = list(map(_collection, leaves.paths, leaves.marks, figures))
    wholes = {
        path: mark.whole for path, mark in zip(leaves.paths, leaves.marks) if mark.whole
    }
    return Listing(
        format=form,
        keys=list(leaves.paths),
        shapes=[figure.shape for figure in figures],
        dtypes=[figure.dtype for figure in figures],
        nbytes=[figure.nbytes for figure in figures],
        collections=collections,
        typed=form not in _PLAIN,
        ties=_ties(leaves, collections),
        shardings=_shardings(leaves, figures),
        logical={
            path: Logical(whole.shape, whole.codec.dtype, whole.codec.rule)
            for path, whole in wholes.items()
        },
    )


def name_collections(listing: Listing) -> None:
    """Name every collection of a Flax module's variables: the first name of each path."""
    words = listing.collections or [""] * len(listing.keys)
    listing.collections = [
        word or ("" if key[0] == PARAMS else key[0])
        for key, word in zip(listing.keys, words, strict=True)
    ]


def without_settings(leaves: Leaves) -> Leaves:
    """Return the leaves without the settings of modules: functions, rates, flags."""
    if not any(mark.arrays_only for mark in leaves.marks):
        return leaves
    kept = [
        leaf
        for leaf in zip(*leaves, strict=True)
        if not leaf[2].arrays_only or _reader(leaf[1]) not in (None, _scalar)
    ]
    return Leaves(*map(list, zip(*kept, strict=True))) if kept else Leaves([], [], [])


def _measure(leaves: Leaves) -> list[_Figures]:
    readers: dict[type, _Reader | None] = {}
    known: dict[tuple[Any, Any], _Figures] = {}
    figures = []
    for path, value in zip(leaves.paths, leaves.values, strict=True):
        kind = type(value)
        if kind not in readers:
            readers[kind] = _reader(value)
        read = readers[kind]
        if read is None:
            text = f", {value!r}" if kind is str else ""
            raise _refuse(path, f"a {kind.__name__}{text}")
        measured = read(value)
        found = known.get(measured)
        if found is None:
            found = known[measured] = _figures(path, *measured)
        figures.append(found)
    return figures


_of_array = operator.attrgetter("shape", "dtype")
_SCALARS = (bool, int, float, complex)


def _of_other(value: Any) -> tuple[Any, Any]:
    shape = value.shape
    return (tuple(shape) if hasattr(shape, "__iter__") else (shape,)), value.dtype


def _scalar(value: complex) -> tuple[Any, Any]:
    # JAX's default dtypes: bool, int32, float32, complex64; 64 bits if x64 is enabled
    kind = next(kind for kind in _SCALARS if isinstance(value, kind))
    return (), jax.dtypes.canonicalize_dtype(np.dtype(kind))


def _reader(value: Any) -> _Reader | None:
    """Return the reader for leaves of this type; None if it is not an array or a number."""
    if isinstance(value, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
        return _of_array
    if isinstance(value, type):
        return None
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _of_other
    return _scalar if isinstance(value, _SCALARS) else None


def _figures(path: Path, shape: tuple[Any, ...], dtype: Any) -> _Figures:
    try:
        shape = tuple(map(operator.index, shape))
    except TypeError:
        sides = ", ".join(map(str, shape))
        raise _refuse(path, f"an array of unknown size ({sides})") from None
    try:
        is_key = jnp.issubdtype(dtype, jax.dtypes.prng_key)
        name = dtype.name if is_key else np.dtype(dtype).name
    except TypeError:
        raise _refuse(path, f"an array of {dtype}") from None
    if is_key:
        return _Figures(shape, name, prod(shape) * dtype.itemsize, "key")
    found = dtypes.find(name)
    if found.kind == "text":
        raise _refuse(path, f"an array of {dtype}")
    return _Figures(shape, name, found.nbytes(prod(shape)), found.kind)


def _refuse(path: Path, found: str) -> TreeError:
    return TreeError(
        place_of(path),
        found=found,
        expected="an array of numbers, a ShapeDtypeStruct or a number",
        cure="leave it out, or put None in its place",
    )


def _collection(path: Path, mark: Mark, figures: _Figures) -> str:
    if figures.kind == "key":
        return "rng_state"
    found = mark.collection or collection_of(path[mark.base :]) or mark.fallback
    # what no gradient can change is not a parameter: its name and dtype say what it is
    learns = figures.kind in ("float", "complex") or mark.whole is not None
    return found if found != PARAMS or learns else ""


def _ties(leaves: Leaves, collections: list[str]) -> list[Tie]:
    """Return the groups of paths that hold the same array object or the same Variable."""
    owned = any(mark.owner for mark in leaves.marks)
    if not owned and len(set(map(id, leaves.values))) == len(leaves.values):
        return []
    is_concrete = _by_type(leaves.values, _is_concrete)
    groups: dict[Any, list[int]] = {}
    for index, (path, value, mark) in enumerate(zip(*leaves, strict=True)):
        if mark.owner:
            owner, depth = mark.owner
            groups.setdefault((owner, path[depth:]), []).append(index)
        elif is_concrete[type(value)]:
            groups.setdefault(id(value), []).append(index)
    ties = []
    for group in groups.values():
        if len(group) > 1:
            # a moving average may start as the same array as its parameter: count the latter
            group.sort(key=lambda index: collections[index] not in (PARAMS, ""))
            by = (
                "the same Variable"
                if leaves.marks[group[0]].owner
                else "the same array object"
            )
            ties.append(Tie(tuple(leaves.paths[index] for index in group), by, shown=True))
    return ties


def _shardings(leaves: Leaves, figures: list[_Figures]) -> dict[Any, Sharding]:
    is_placed = _by_type(leaves.values, _is_placed)
    places = [x.sharding if is_placed[type(x)] else None for x in leaves.values]
    named = any(mark.axes for mark in leaves.marks)
    if not named and set(map(type, places)) <= _ON_ONE_DEVICE:
        return {}
    found: dict[Any, Sharding] = {}
    for path, placed, mark, figure in zip(
        leaves.paths, places, leaves.marks, figures, strict=True
    ):
        if placed is None or placed.num_devices == 1:
            if mark.axes:
                found[path] = Sharding(mark.axes)
            continue
        size, nbytes = prod(figure.shape), figure.nbytes
        held = largest_shard(placed, figure.shape)
        on_device = nbytes if held == size else -(-nbytes * held // size)
        found[path] = Sharding(mark.axes or text_of(placed), on_device)
    return found


_ON_ONE_DEVICE = {type(None), jax.sharding.SingleDeviceSharding}


def _by_type(values: list[Any], test: Callable[[Any], bool]) -> dict[type, bool]:
    """Return the result of a test for each type of value, from one value of the type."""
    samples = dict(zip(map(type, values), values, strict=True))
    return {kind: test(sample) for kind, sample in samples.items()}


def _is_concrete(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray) and not isinstance(value, Tracer)


def _is_placed(value: Any) -> bool:
    # the compiler chooses the sharding of a tracer, which has none yet
    is_array = isinstance(value, jax.Array | jax.ShapeDtypeStruct)
    return is_array and not isinstance(value, Tracer)
