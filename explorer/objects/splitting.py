"""Parameters split by role: weights and biases, and what weight decay applies to."""

import os
from collections.abc import (
    Callable,
    Iterable,
    Mapping,
)
from types import FunctionType
from typing import Any, get_args

from jax import tree_util

from explorer.errors import TreeError, first_few, shown
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import PARAMS, Role
from explorer.objects.frameworks import is_instance
from explorer.objects.parameters import is_learned
from explorer.paths import name_of, path_of
from explorer.roles.dataflow.records import ParameterRole
from explorer.roles.names import classify
from explorer.roles.settings import is_array, is_module
from explorer.tree.collections import collection_of
from explorer.tree.partition import map_leaves, partition
from explorer.tree.walk import Path, place_of, walk

__all__ = ["decay_mask", "split_weights_biases"]

Roles = Mapping[Any, Any] | Inventory
_ROLES = get_args(Role)


def split_weights_biases(params: Any, *, roles: Roles | Any = None) -> tuple[Any, Any]:
    """Return the weights and the biases of a model as two trees of one structure.

    A weight is every parameter that is not a bias: kernels, embeddings and scales.

    Args:
        params: a tree of parameters: nested containers, FrozenDicts, NNX States, Equinox
            modules, boxed leaves. It is not changed.
        roles: if names are not enough: what `trace_roles` returned, a role for each path
            ("layer/bias", or a tuple of names), or an Inventory. Names decide for all other
            paths, and for parameters that nothing uses.

    Returns:
        `(weights, biases)`: two trees with the same leaf objects, and None in place of the
        leaves of the other; `combine(weights, biases)` is `params` again.

    Raises:
        TreeError: the tree holds more than parameters, or the roles are of another model.

    >>> split_weights_biases({"Dense_0": {"kernel": 2.0, "bias": 3.0}})
    ({'Dense_0': {'bias': None, 'kernel': 2.0}}, {'Dense_0': {'bias': 3.0, 'kernel': None}})
    """
    _refuse_module(params)
    role_of = _role_finder(roles, params)

    def is_weight(path: Path, leaf: Any) -> bool:
        _check_parameter(path, leaf)
        return role_of(path, _content(leaf)) != "bias"

    return partition(params, is_weight)


def decay_mask(params: Any) -> Any:
    """Return a tree of bools: True where weight decay should apply.

    That is kernels and embeddings; not biases, scales of normalisation, or state. Both the
    function (`optax.adamw(1e-3, mask=decay_mask)`) and its result are optax masks.

    Args:
        params: a tree of parameters, as for `split_weights_biases`.

    Raises:
        TreeError: the tree holds more than parameters.

    >>> decay_mask({"Dense_0": {"kernel": 2.0, "bias": 3.0}, "LayerNorm_0": {"scale": 1.0}})
    {'Dense_0': {'bias': False, 'kernel': True}, 'LayerNorm_0': {'scale': False}}
    """
    _refuse_module(params)
    role_of = _role_finder(None)

    def decays(path: Path, leaf: Any) -> bool:
        _check_parameter(path, leaf)
        array = _content(leaf)
        is_multiplied = role_of(path, array) in ("kernel", "embedding")
        return is_multiplied and is_learned(path, _shape(array), _dtype(array))

    return map_leaves(decays, params)


def _role_finder(roles: Any, params: Any = None) -> Callable[[Path, Any], str]:
    given = {} if roles is None else _given(roles)
    if given:
        _check_fits(given, params)
    if isinstance(roles, Inventory):
        _check_shapes(roles, params)

    def role_of(path: Path, array: Any) -> str:
        return given.get(_place(path)) or classify(path, _shape(array))[0]

    return role_of


def _given(roles: Any) -> dict[str, str]:
    """Return roles by path, whatever holds them.

    Raises:
        TreeError: nothing does, or a word is not a role.
    """
    if isinstance(roles, Inventory):
        return {_place(tensor.path): str(tensor.role) for tensor in roles}
    if isinstance(roles, Mapping) and all(isinstance(r, str) for r in roles.values()):
        for key, role in roles.items():
            if role not in _ROLES:
                raise TreeError(
                    f"roles[{shown(key, 60)}]",
                    found=shown(role, 60),
                    expected=" or ".join(_ROLES),
                )
        return {_place(path_of(key)): role for key, role in roles.items()}
    traced = walk(roles)
    records = list(zip(traced.paths, traced.values, strict=True))
    if not any(isinstance(record, ParameterRole) for _, record in records):
        raise TreeError(
            "roles",
            found=f"is {type(roles).__name__} without roles",
            expected="what trace_roles returned, a dict of roles by path, or an Inventory",
        )
    return {
        _place(path): record.role
        for path, record in records
        if isinstance(record, ParameterRole) and record.reached
    }


def _place(path: Path) -> str:
    """Return a path without the collection, which roles may have and parameters not."""
    return name_of(path[1:] if path[:1] == (PARAMS,) and len(path) > 1 else path)


def _check_fits(given: Mapping[str, str], params: Any) -> None:
    """Refuse roles of another model: those of which no path is in the parameters."""
    paths = [_place(path) for path in walk(params).paths]
    if paths and not any(map(given.__contains__, _without_values(paths))):
        raise TreeError(
            "roles",
            found=f"are those of another model: of {first_few(given)}",
            expected=f"of {first_few(paths)}",
        )


def _check_shapes(roles: Inventory, params: Any) -> None:
    """Refuse the inventory of a model of one's own names and other sizes."""
    shapes = {_place(tensor.path): tensor.shape for tensor in roles}
    for path, leaf in zip(*walk(params)[:2], strict=True):
        found = shapes.get(_place(path))
        if found is not None and found != _shape(_content(leaf)):
            raise TreeError(
                "roles",
                found=f"are those of another model: {name_of(path)} {list(found)}",
                expected=f"{list(_shape(_content(leaf)))}",
            )


def _without_values(paths: list[str]) -> list[str]:
    """Return paths, and those without what a Variable or a box adds to them."""
    return [*paths, *(path.rpartition("/")[0] for path in paths)]


def _content(leaf: Any) -> Any:
    """Return the array in a box or a Variable; any other leaf as it is."""
    inside = tree_util.tree_leaves(leaf)
    return inside[0] if len(inside) == 1 else leaf


def _shape(array: Any) -> tuple[int, ...]:
    found = getattr(array, "shape", ())
    return tuple(found) if isinstance(found, Iterable) else ()


def _dtype(array: Any) -> str:
    name = getattr(getattr(array, "dtype", None), "name", None)
    return name or ("float32" if isinstance(array, float | complex) else "")


def _refuse_module(params: Any) -> None:
    cure = _cure(params)
    if cure is not None:
        place, found = _described(params)
        raise TreeError(place, found=found, expected="a tree of parameters", cure=cure)
    if not is_module(params):
        for path, leaf in zip(*walk(params, _opened)[:2], strict=True):
            if not (is_array(leaf) or isinstance(leaf, int | float | complex)):
                raise TreeError(
                    place_of(path),
                    found=f"is {type(leaf).__name__}",
                    expected="an array",
                    cure="pass the parameters alone",
                )


def _opened(path: Path, node: Any, mark: Any) -> tuple[Any, Any]:
    """Leave out modules, whose other leaves than arrays are settings."""
    return (None, mark) if is_module(node) else (node, mark)


def _cure(params: Any) -> str | None:
    """Return what to pass instead of something that is not a tree of parameters."""
    if is_instance(params, "flax.nnx", "Module"):
        return "pass nnx.state(module, nnx.Param)"
    if is_instance(params, "flax.linen", "Module"):
        return 'pass variables["params"] of module.init(key, *inputs)'
    if isinstance(params, Inventory):
        return "pass the parameters; its roles can be given as roles="
    if isinstance(params, str | os.PathLike):
        return "pass explorer.load(path)"
    if params is None or isinstance(params, bytes | int | float | complex):
        return "pass nested dicts of arrays"
    if isinstance(params, type):
        return "pass the parameters of an instance"
    return "pass its parameters" if isinstance(params, FunctionType) else None


def _described(params: Any) -> tuple[str, str]:
    """Return how an error refers to something that is not a tree, and what it is."""
    kind = type(params).__name__
    for module, word in (("flax.nnx", "an NNX module"), ("flax.linen", "a Linen module")):
        if is_instance(params, module, "Module"):
            return kind, f"is {word}"
    if isinstance(params, type):
        return params.__name__, "is a class"
    return "params", "is None" if params is None else f"is {kind}"


def _check_parameter(path: Path, leaf: Any) -> None:
    collection, cure = collection_of(path), 'pass variables["params"]'
    if is_instance(leaf, "flax.nnx", "Variable"):
        is_param = is_instance(leaf, "flax.nnx", "Param")
        collection = PARAMS if is_param else f"nnx.{type(leaf).__name__}"
        cure = "pass nnx.state(module, nnx.Param)"
    if collection not in ("", PARAMS):
        raise TreeError(
            place_of(path),
            found=f"{collection} among the parameters",
            expected="a tree of parameters only",
            cure=cure,
        )
