"""Parameters split by role: weights and biases, and what weight decay applies to."""

from collections.abc import Callable, Mapping
from typing import Any

from jax import tree_util

from explorer.errors import TreeError
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import PARAMS
from explorer.objects.frameworks import is_instance
from explorer.objects.parameters import is_learned
from explorer.paths import name_of
from explorer.roles.dataflow.records import ParameterRole
from explorer.roles.names import classify
from explorer.tree.collections import collection_of
from explorer.tree.partition import map_leaves, partition
from explorer.tree.walk import Path, place_of, walk

__all__ = ["decay_mask", "split_weights_biases"]

Roles = Mapping[Any, Any] | Inventory


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
        TreeError: the tree holds more than parameters.

    >>> split_weights_biases({"Dense_0": {"kernel": 2.0, "bias": 3.0}})
    ({'Dense_0': {'bias': None, 'kernel': 2.0}}, {'Dense_0': {'bias': 3.0, 'kernel': None}})
    """
    _refuse_module(params)
    role_of = _role_finder(roles)

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


def _role_finder(roles: Any) -> Callable[[Path, Any], str]:
    if isinstance(roles, Inventory):
        given = {tensor.name: str(tensor.role) for tensor in roles}
    elif isinstance(roles, Mapping) and all(isinstance(r, str) for r in roles.values()):
        given = {name_of(key): role for key, role in roles.items()}
    else:
        traced = walk(roles)
        given = {
            name_of(path): record.role
            for path, record in zip(traced.paths, traced.values, strict=True)
            if isinstance(record, ParameterRole) and record.reached
        }

    def role_of(path: Path, array: Any) -> str:
        return given.get(name_of(path)) or classify(path, _shape(array))[0]

    return role_of


def _content(leaf: Any) -> Any:
    """Return the array in a box or a Variable; any other leaf as it is."""
    inside = tree_util.tree_leaves(leaf)
    return inside[0] if len(inside) == 1 else leaf


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(getattr(array, "shape", ()))


def _dtype(array: Any) -> str:
    name = getattr(getattr(array, "dtype", None), "name", None)
    return name or ("float32" if isinstance(array, float | complex) else "")


def _refuse_module(params: Any) -> None:
    if is_instance(params, "flax.nnx", "Module"):
        raise TreeError(
            type(params).__name__,
            found="is an NNX module",
            expected="a tree of parameters",
            cure="pass nnx.state(module, nnx.Param)",
        )


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
