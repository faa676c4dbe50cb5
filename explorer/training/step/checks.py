"""What can be trained, and with what: refused in one line where it cannot."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from explorer.errors import InputError, shown
from explorer.training.sharding.annotations import LogicalAxes
from explorer.training.sharding.mesh import Rule, Rules
from explorer.tree.walk import names_of, place_of

__all__ = [
    "check_float",
    "check_optimizer",
    "check_rules",
    "check_sizes",
    "check_trainable",
]

_MAX_ARRAY = 1 << 50  # bytes: a pebibyte


def check_trainable(params: Any) -> None:
    """Refuse parameters that no gradient can change.

    Raises:
        InputError: there are none, or one is of integers; its path is named.
    """
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    if not leaves:
        raise InputError("params", found="no parameters", expected="something to train")
    for keys, leaf in leaves:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise InputError(
                place_of(names_of(keys)),
                found=f"a parameter of {dtype}",
                expected="floating point, as only that has a gradient",
                cure="keep it in another collection than params",
            )


def check_sizes(variables: Any) -> None:
    """Refuse arrays beyond what XLA can address: it would end the process.

    Raises:
        InputError: the path of the first one is named.
    """
    for keys, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        if (nbytes := leaf.size * jnp.result_type(leaf).itemsize) > _MAX_ARRAY:
            raise InputError(
                place_of(names_of(keys)),
                found=f"an array of {nbytes:,} bytes",
                expected=f"at most {_MAX_ARRAY:,}",
                cure="check the sizes of the module",
            )


def check_float(dtype: Any, place: str = "parameters") -> Any:
    """Return a dtype of floating-point numbers, as it was given.

    Raises:
        InputError: it is another, or does not exist.
    """
    try:
        known = dtype is not None and jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except (TypeError, ValueError, RuntimeError, AttributeError):  # as NumPy and JAX say it
        known = False
    if not known:
        raise InputError(
            place,
            found=f"dtype {shown(dtype, 60)}",
            expected="a floating-point dtype such as bfloat16 or float32",
        )
    return dtype


def check_key(rng: Any) -> Any:
    """Return a random key, as it was given.

    Raises:
        InputError: it is something else.
    """
    dtype: Any = getattr(rng, "dtype", None)
    shape = getattr(rng, "shape", None)
    typed = isinstance(rng, jax.Array) and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if (typed and shape == ()) or (dtype == jnp.uint32 and shape == (2,)):
        return rng
    raise InputError(
        "rng", found=shown(rng, 60), expected="one random key", cure="jax.random.key(0)"
    )


def check_rules(
    rules: Rule | Rules | None, mesh: Mesh | None, logical_axes: LogicalAxes | None = None
) -> None:
    """Refuse rules or logical axes without a mesh.

    Raises:
        InputError: there are some, and no mesh.
    """
    for place, given in (("rules", rules), ("logical_axes", logical_axes)):
        if given is not None and mesh is None:
            raise InputError(
                place, found="no mesh", cure="pass mesh=make_mesh(...) as well"
            )


def check_watch(watch: Any) -> None:
    """Refuse what is not a Watch, or None."""
    from explorer.training.watch.watch import Watch

    if not isinstance(watch, Watch | None):
        raise InputError("watch", found=shown(watch, 60), expected="a Watch, or None")


def check_optimizer(optimizer: Any) -> None:
    """Refuse an optimizer that is something else.

    Raises:
        InputError: what it is.
    """
    if not hasattr(optimizer, "init") or not hasattr(optimizer, "update"):
        raise InputError(
            "optimizer",
            found=shown(optimizer, 60),
            expected="an optax transformation such as optax.adamw(1e-3)",
        )
