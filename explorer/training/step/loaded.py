"""Parameters that are loaded, in the places of those that a module draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from explorer.arguments import as_names
from explorer.errors import InputError, printable, shown
from explorer.paths import matches, name_of
from explorer.tree.walk import names_of

__all__ = ["loaded_into"]


def loaded_into(drawn: Any, loaded: Any, fresh: str | Sequence[str] = ()) -> Any:
    """Return drawn parameters with loaded ones in their places, in the dtypes of the drawn.

    Args:
        drawn: a tree of parameters.
        loaded: a tree of arrays, with the same paths; or with "params" around them; or a
            state or a module of NNX.
        fresh: globs of parameters that stay as they are drawn.

    Raises:
        InputError: others are missing, some are left over, or a shape differs; they are named.

    >>> drawn = {"a": jnp.zeros(2), "head": jnp.zeros(3)}
    >>> loaded_into(drawn, {"a": jnp.ones(2)}, "head")["a"].tolist()
    [1.0, 1.0]
    >>> loaded_into(drawn, {"a": jnp.ones(2), "b": jnp.ones(2)})
    Traceback (most recent call last):
    explorer.errors.InputError: params: head is missing, b is left over; expected the parameters of the model; name globs of what is drawn with fresh=, and leave out what is left over
    """
    globs = (fresh,) if isinstance(fresh, str) else as_names("fresh", fresh)
    if isinstance(loaded, nnx.Module):
        loaded = nnx.state(loaded, nnx.Param)
    if isinstance(loaded, nnx.State):
        loaded = nnx.to_pure_dict(loaded)
    if isinstance(loaded, Mapping) and set(loaded) == {"params"} and "params" not in drawn:
        loaded = loaded["params"]
    there = {names_of(k): v for k, v in jax.tree_util.tree_flatten_with_path(loaded)[0]}
    leaves, treedef = jax.tree_util.tree_flatten_with_path(drawn)
    paths = [names_of(keys) for keys, _ in leaves]
    for glob in globs:
        if not any(matches(path, glob) for path in paths):
            raise InputError(
                "fresh",
                found=f"{shown(glob, 60)} matches no parameter",
                expected=f"a glob of paths such as {name_of(paths[0])}",
            )
    is_fresh = [any(matches(path, glob) for glob in globs) for path in paths]
    wanted = {path for path, is_new in zip(paths, is_fresh, strict=True) if not is_new}
    wrong = _some(
        [path for path in paths if path in wanted and path not in there], "missing"
    )
    wrong += _some([path for path in there if path not in paths], "left over")
    if wrong:
        raise InputError(
            "params",
            found=", ".join(wrong),
            expected="the parameters of the model",
            cure="name globs of what is drawn with fresh=, and leave out what is left over",
        )
    return treedef.unflatten(
        _taken(path, leaf, there[path]) if path in wanted else leaf
        for path, (_, leaf) in zip(paths, leaves, strict=True)
    )


def _some(paths: list[tuple[str, ...]], how: str) -> list[str]:
    """Return the first few that are missing or left over, in words."""
    if not paths:
        return []
    names = ", ".join(printable(name_of(path)) for path in paths[:3])
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return [f"{names}{more} {'is' if len(paths) == 1 else 'are'} {how}"]


def _taken(path: tuple[str, ...], drawn: Any, loaded: Any) -> jax.Array:
    if jnp.shape(loaded) != drawn.shape:
        raise InputError(
            printable(name_of(path)),
            found=f"has shape {jnp.shape(loaded)} in params",
            expected=f"{drawn.shape}, as the model has it",
        )
    return jnp.copy(jnp.asarray(loaded).astype(drawn.dtype))
