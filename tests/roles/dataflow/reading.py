"""Roles as short words, to be read beside a hand-written truth."""

from typing import Any

import jax
import jax.numpy as jnp

from explorer.roles.dataflow import ParameterRole, trace_roles
from explorer.roles.dataflow.arguments import paths_of

__all__ = ["floats", "ids", "manners_of", "records_of", "roles_of"]


def floats(*sides: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sides, jnp.float32)


def ids(*sides: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sides, jnp.int32)


def records_of(
    fn: Any, params: Any, *inputs: Any, **kwargs: Any
) -> dict[str, ParameterRole]:
    roles = trace_roles(fn, params, *inputs, **kwargs)
    leaves = jax.tree.leaves(roles, is_leaf=lambda node: isinstance(node, ParameterRole))
    return dict(zip(paths_of(params), leaves, strict=True))


def roles_of(fn: Any, params: Any, *inputs: Any, **kwargs: Any) -> dict[str, str]:
    """Return the role of every parameter by path; "unused" where no output depends on it."""
    return {
        path: record.role if record.reached else "unused"
        for path, record in records_of(fn, params, *inputs, **kwargs).items()
    }


def manners_of(fn: Any, params: Any, *inputs: Any) -> dict[str, list[str]]:
    """Return how every parameter is used, in the program's order."""
    records = records_of(fn, params, *inputs)
    return {path: [use.manner for use in record.uses] for path, record in records.items()}
