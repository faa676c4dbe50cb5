"""Types for a file that has none: those of the model that it was saved from.

A checkpoint of bare arrays marks no buffers. The model, live or abstract, does: its tensors
are found in the file by name and shape, and what it says of them is said of the file's.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from explorer.dtypes import is_trainable
from explorer.errors import InputError, printable
from explorer.identify.by_order import SOURCE, matched_by_order
from explorer.inventory.columns import Columns
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import PARAMS, Kind, TensorSpec, Tie
from explorer.paths import Key, name_of
from explorer.roles.names import split_names

__all__ = ["typed_like"]

_Path = tuple[str, ...]
_DEEPEST = 4  # names that a training loop puts around a model
_NAMED = 3  # tensors that a remark names


class _Correspondence(NamedTuple):
    """The model's tensors under the keys of the file, and what does not fit."""

    found: dict[Key, TensorSpec]
    reshaped: list[str]


def typed_like(inventory: Inventory, like: Inventory) -> Inventory:
    """Return an inventory with the collections and roles of a model's tensors.

    Its figures are as sure as the model's where every parameter that is counted has its type
    from there. The leaves of a file without names are the model's in the order of its tree. A remark says what fits; a tensor that does not keeps what its name says.

    Args:
        inventory: of a file or tree without types.
        like: of the model; a training loop may have put names around those of its tensors.

    Raises:
        InputError: not one tensor is the model's; or leaves without names are not its own.

    >>> import explorer as ex, numpy as np
    >>> file = ex.explore({"model": {"pe": np.ones((9, 4)), "w": np.ones(4)}})
    >>> model = ex.explore({"params": {"w": np.ones(4)}, "buffers": {"pe": np.ones((9, 4))}})
    >>> typed_like(file, model).num_parameters
    4
    """
    if inventory.source == SOURCE:
        leaves = matched_by_order(inventory.target, inventory.tensors, like.tensors)
        match = _Correspondence(leaves, [])
    else:
        match = _matched(inventory.tensors, like)
    if not match.found:
        raise InputError(
            _name(like),
            found=f"shares no tensor with {inventory.target or 'the tree'}, by name and shape",
            expected="the model that it was saved from",
        )
    ties = _ties(match, like, inventory)
    aliases = {key for tie in ties for key in tie.keys[1:]}
    tensors = [
        msgspec.structs.replace(
            tensor,
            kind=_typed(tensor.kind, match.found.get(tensor.key)),
            alias=tensor.key in aliases,
        )
        for tensor in inventory.tensors
    ]
    known = _Known(match)
    unknown = [tensor.name for tensor in tensors if not known.covers(tensor)]
    found = {spec.key for spec in match.found.values()}
    absent = [
        spec.name for spec in like.tensors if spec.key not in found and not spec.alias
    ]
    by = "the order of leaves" if inventory.source == SOURCE else "name and shape"
    remarks = (*inventory.remarks, *_remarks(match, like, unknown, absent, by))
    typed = replace(inventory, columns=Columns.of(tensors), ties=ties, remarks=remarks)
    if unknown:
        return typed
    return replace(
        typed,
        role_by=like.role_by,
        parameters_by="model" if like.parameters_by == "source" else like.parameters_by,
        assumptions=like.assumptions,
        rules=(),
    )


class _Known:
    """What the model says something of: its tensors, and what repeats one of them."""

    def __init__(self, match: _Correspondence):
        self._found = match.found
        self._shapes: dict[_Path, tuple[int, ...]] = {}
        for spec in match.found.values():
            path = _path(spec)
            self._shapes[path] = spec.shape
            if path[:1] == (spec.collection,):
                self._shapes[path[1:]] = spec.shape

    def covers(self, tensor: TensorSpec) -> bool:
        """Return whether a tensor is one of the model's, a moment or a copy of one, or a count.

        A moment has the name of its parameter behind the names of its own, and its shape.
        """
        if tensor.key in self._found or not is_trainable(tensor.dtype):
            return True
        if tensor.kind.is_parameter:
            return False
        path = _path(tensor)
        return tensor.shape in ((), (1,)) or any(
            self._shapes.get(path[start:]) == tensor.shape for start in range(1, len(path))
        )


def _matched(tensors: Iterable[TensorSpec], like: Inventory) -> _Correspondence:
    """Return the model's tensor for each of a file's, found by name and shape.

    Names are compared as the model has them and without the collection before them, after
    the names around the model that fit the most of them; fewer such names win a draw.
    """
    paths = {tensor.key: _path(tensor) for tensor in tensors}
    shapes = {tensor.key: tensor.shape for tensor in tensors}
    best: dict[Key, TensorSpec] = {}
    for model in _spellings(like):
        around = Counter(
            path[:depth]
            for path in paths.values()
            for depth in range(min(_DEEPEST, len(path)))
            if path[depth:] in model
        )
        if not around:
            continue
        prefix = max(around, key=lambda names: (around[names], -len(names)))
        found = {
            key: model[path[len(prefix) :]]
            for key, path in paths.items()
            if path[: len(prefix)] == prefix and path[len(prefix) :] in model
        }
        if len(found) > len(best):
            best = found
    reshaped = [
        f"{name_of(key)} is {list(shapes[key])}, not {list(spec.shape)}"
        for key, spec in best.items()
        if shapes[key] != spec.shape
    ]
    fitting = {key: spec for key, spec in best.items() if shapes[key] == spec.shape}
    return _Correspondence(fitting, reshaped)


def _spellings(like: Inventory) -> Iterable[dict[_Path, TensorSpec]]:
    """Yield the model's tensors by their names, and by those inside their collection."""
    named = {_path(tensor): tensor for tensor in like.tensors}
    yield named
    inner = {path[1:]: t for path, t in named.items() if path[:1] == (t.collection,)}
    if inner:
        yield inner
        yield {path[1:]: t for path, t in named.items() if path[:1] == (PARAMS,)}


def _path(tensor: TensorSpec) -> _Path:
    """Return a tensor's names without what libraries add to them."""
    return tuple(split_names(tensor.path))


def _typed(kind: Kind, spec: TensorSpec | None) -> Kind:
    """Return a kind with the model's word for what such a tensor is."""
    if spec is None:
        return kind
    return msgspec.structs.replace(
        kind,
        collection=spec.collection,
        role=spec.role,
        component=spec.component,
        rule=kind.rule if kind.stored else spec.kind.rule,
    )


def _ties(match: _Correspondence, like: Inventory, inventory: Inventory) -> tuple[Tie, ...]:
    """Return what the file shows to be one storage, and what the model shares."""
    shared = {key for tie in inventory.ties if tie.shown for key in tie.keys}
    keys: dict[Key, Key] = {spec.key: key for key, spec in match.found.items()}
    ties = [tie for tie in inventory.ties if tie.shown]
    for tie in like.ties:
        stored = tuple(keys[key] for key in tie.keys if key in keys)
        if len(stored) > 1 and shared.isdisjoint(stored):
            ties.append(Tie(stored, f"one tensor of {_name(like)}", shown=True))
    return tuple(ties)


def _remarks(
    match: _Correspondence,
    like: Inventory,
    unknown: list[str],
    absent: list[str],
    by: str,
) -> Iterable[str]:
    name = _name(like)
    yield f"types are those of {name}, found by {by}: {len(match.found):,} tensors"
    if match.reshaped:
        yield f"of another shape than in {name}: {_some(match.reshaped)}"
    if unknown:
        yield f"not in {name}, and known by name alone: {_some(unknown)}"
    if absent:
        yield f"in {name} and not in the file: {_some(absent)}"


def _name(like: Inventory) -> str:
    return printable(like.target or f"the {like.source}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return printable(", ".join(names[:_NAMED]) + more, 300)
