"""Parameters and statistics that are loaded, in the places of those that a module draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from explorer.arguments import as_names
from explorer.errors import InputError, printable, shown
from explorer.paths import matches, name_of
from explorer.training.modules.variables import Variables, by_collection
from explorer.tree.walk import names_of

__all__ = ["loaded_into", "loaded_variables", "plain_of"]

_STATS = "batch_stats"


def plain_of(loaded: Any) -> Any:
    """Return a module or a state of NNX as collections of plain trees; others as they are.

    Random streams and what was sown are left out.
    """
    if isinstance(loaded, nnx.Module):
        loaded = nnx.state(loaded)
    if not isinstance(loaded, nnx.State):
        return loaded
    unkept = nnx.Any(nnx.RngState, nnx.Intermediate)
    params, _, rest = nnx.split_state(loaded, nnx.Param, unkept, ...)
    return {"params": nnx.to_pure_dict(params), _STATS: nnx.to_pure_dict(rest)}


def loaded_variables(
    drawn: Variables, loaded: Any, fresh: str | Sequence[str] = ()
) -> Variables:
    """Return what a module begins with, with what is loaded in its places.

    Args:
        drawn: of the module.
        loaded: a tree of parameters; or collections by name, "params" among them: those that it
            has are taken, statistics too, and others stay as they are drawn.
        fresh: globs of parameters and statistics that stay as they are drawn.

    Raises:
        InputError: as `loaded_into`; or there is a collection that the module does not have.

    >>> drawn = Variables({"w": jnp.zeros(1)}, {"norm": {"mean": jnp.zeros(1)}})
    >>> saved = {"params": {"w": jnp.ones(1)}, "batch_stats": {"norm": {"mean": jnp.ones(1)}}}
    >>> loaded_variables(drawn, saved).batch_stats["norm"]["mean"].item()
    1.0
    """
    if not _is_collections(drawn.params, loaded):
        return drawn._replace(params=loaded_into(drawn.params, loaded, fresh))
    params = loaded_into(drawn.params, loaded["params"], fresh)
    kept = by_collection(drawn.batch_stats)
    given = {
        n: tree for n, tree in loaded.items() if n != "params" and jax.tree.leaves(tree)
    }
    for name, tree in given.items():
        if name not in kept:
            raise InputError(
                "params",
                found=f"collection {shown(name, 40)} is left over",
                expected=f"some of {', '.join(('params', *kept))}",
                cure="leave it out",
            )
        kept[name] = loaded_into(kept[name], tree, fresh, place=name)
    has_others = _STATS in drawn.batch_stats
    stats = {**drawn.batch_stats, **kept} if has_others else kept.get(_STATS, {})
    return Variables(params, stats)


def _is_collections(drawn: Any, loaded: Any) -> bool:
    """Return whether something that is loaded has collections, of which "params" is one."""
    return isinstance(loaded, Mapping) and "params" in loaded and "params" not in drawn


def loaded_into(
    drawn: Any, loaded: Any, fresh: str | Sequence[str] = (), place: str = "params"
) -> Any:
    """Return drawn parameters with loaded ones in their places, in the dtypes of the drawn.

    Args:
        drawn: a tree of parameters.
        loaded: a tree of arrays, with the same paths.
        fresh: globs of parameters that stay as they are drawn.
        place: the collection; of others than "params" the globs need not match anything.

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
    there = {names_of(k): v for k, v in jax.tree_util.tree_flatten_with_path(loaded)[0]}
    leaves, treedef = jax.tree_util.tree_flatten_with_path(drawn)
    paths = [names_of(keys) for keys, _ in leaves]
    for glob in globs:
        if place == "params" and not any(matches(path, glob) for path in paths):
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
            place,
            found=", ".join(wrong),
            expected=f"the {'parameters' if place == 'params' else 'statistics'} of the model",
            cure="name globs of what is drawn with fresh=, and leave out what is left over",
        )
    return treedef.unflatten(
        _taken(path, leaf, there[path], place) if path in wanted else leaf
        for path, (_, leaf) in zip(paths, leaves, strict=True)
    )


def _some(paths: list[tuple[str, ...]], how: str) -> list[str]:
    """Return the first few that are missing or left over, in words."""
    if not paths:
        return []
    names = ", ".join(printable(name_of(path)) for path in paths[:3])
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return [f"{names}{more} {'is' if len(paths) == 1 else 'are'} {how}"]


def _taken(path: tuple[str, ...], drawn: Any, loaded: Any, place: str) -> jax.Array:
    if jnp.shape(loaded) != drawn.shape:
        raise InputError(
            printable(name_of(path)),
            found=f"has shape {jnp.shape(loaded)} in {place}",
            expected=f"{drawn.shape}, as the model has it",
        )
    found = jnp.asarray(loaded)
    return jnp.copy(found if found.dtype == drawn.dtype else found.astype(drawn.dtype))
