"""Some parameters kept as they are while the others learn."""

from collections.abc import Collection, Hashable, Sequence
from math import prod
from typing import Any, NamedTuple, get_args

import jax
import optax
from jax import lax

from explorer.errors import InputError, TreeError, printable
from explorer.inventory.tensor import Role
from explorer.paths import matches, name_of
from explorer.roles.names import classify
from explorer.tree.walk import Path, names_of

__all__ = ["FROZEN", "TRAINED", "Freeze", "freeze", "stopped"]

FROZEN, TRAINED = "frozen", "trained"
_WORDS = (*get_args(Role), "weight")


class Freeze(NamedTuple):
    """An optimizer that leaves some parameters alone, and how many those are.

    `labels` has "trained" or "frozen" in the place of every parameter tensor; `trainable`
    and `frozen` count parameters.
    """

    optimizer: optax.GradientTransformation
    labels: Any
    trainable: int
    frozen: int


def freeze(
    optimizer: optax.GradientTransformation,
    params: Any,
    *,
    roles: str | Sequence[str] = (),
    globs: str | Sequence[str] = (),
    role_tree: Any = None,
) -> Freeze:
    """Return an optimizer under which what a role or a glob names never changes.

    Weight decay and momentum included: the optimizer does not see frozen parameters, and
    keeps no moments of them. `make_train_step(labels=)` spares their gradients too.

    Args:
        optimizer: of the others.
        params: a tree of parameters, or of their shapes.
        roles: one or several of kernel, embedding, scale, bias, other; or weight, all but
            biases.
        globs: one or several, of paths.
        role_tree: where names do not tell: a tree like `params` with a role word, or what
            `trace_roles` found, in the place of every leaf.

    Raises:
        InputError: a role or a glob matches no parameter, or all are frozen.
        TreeError: `role_tree` is no such tree.

    >>> import optax
    >>> params = {"dense": {"kernel": jax.numpy.ones((4, 3)), "bias": jax.numpy.ones(3)}}
    >>> found = freeze(optax.adamw(1e-3), params, roles=["bias"])
    >>> found.trainable, found.frozen, found.labels
    (12, 3, {'dense': {'bias': 'frozen', 'kernel': 'trained'}})
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    paths = [names_of(keys) for keys, _ in leaves]
    shapes = [tuple(leaf.shape) for _, leaf in leaves]
    role_of = _given_roles(role_tree, treedef) or [
        classify(path, shape)[0] for path, shape in zip(paths, shapes, strict=True)
    ]
    words, patterns = _several("roles", roles), _several("globs", globs)
    held = {index for word in words for index in _of_role(word, role_of)}
    held |= {index for glob in patterns for index in _of_glob(glob, paths)}
    if not held or len(held) == len(paths):
        found = "all parameters are frozen" if held else "neither a role nor a glob"
        raise InputError("freeze", found=found, expected="some of the parameters")
    labels = [FROZEN if index in held else TRAINED for index in range(len(paths))]
    sizes = [prod(shape) for shape in shapes]
    frozen = sum(sizes[index] for index in held)
    tree = treedef.unflatten(labels)
    parts: dict[Hashable, Any] = {TRAINED: optimizer, FROZEN: optax.set_to_zero()}
    return Freeze(optax.multi_transform(parts, tree), tree, sum(sizes) - frozen, frozen)


def stopped(params: Any, labels: Any) -> Any:
    """Return parameters of which the frozen ones have no gradient; all have if None."""
    if labels is None:
        return params

    def stop(leaf: Any, label: str) -> Any:
        return lax.stop_gradient(leaf) if label == FROZEN else leaf

    return jax.tree.map(stop, params, labels)


def _several(what: str, given: Any) -> tuple[str, ...]:
    """Return one string or several as several: a string alone is no sequence of letters."""
    several = (given,) if isinstance(given, str) else given
    if not isinstance(several, Collection) or not all(
        isinstance(word, str) for word in several
    ):
        raise InputError(
            f"freeze({what}=)",
            found=printable(repr(given), 60),
            expected=f"one or several of the {what}, each a string",
        )
    return tuple(several)


def _of_role(word: str, role_of: Sequence[str]) -> list[int]:
    if word not in _WORDS:
        raise InputError(
            "freeze(roles=)",
            found=printable(repr(word), 60),
            expected=f"of {', '.join(_WORDS)}",
        )
    found = [
        index
        for index, role in enumerate(role_of)
        if role == word or (word == "weight" and role != "bias")
    ]
    if not found:
        raise InputError(
            "freeze(roles=)",
            found=f"no parameter is a {word}",
            expected=f"of {', '.join(sorted(set(role_of)))}, which this model has",
        )
    return found


def _of_glob(glob: str, paths: Sequence[Path]) -> list[int]:
    found = [index for index, path in enumerate(paths) if matches(path, glob)]
    if not found:
        raise InputError(
            "freeze(globs=)",
            found=f"{printable(repr(glob), 60)} matches no parameter",
            expected=f"a glob of paths such as {name_of(paths[0])}",
        )
    return found


def _given_roles(role_tree: Any, treedef: Any) -> list[str] | None:
    if role_tree is None:
        return None

    def is_role(node: Any) -> bool:
        return isinstance(node, str) or hasattr(node, "role")

    leaves, structure = jax.tree.flatten(role_tree, is_leaf=is_role)
    if structure != treedef or not all(map(is_role, leaves)):
        raise TreeError(
            "role_tree",
            found=f"a tree of {len(leaves)} leaves",
            expected=f"the structure of params, {treedef.num_leaves} leaves, each a role",
        )
    return [leaf if isinstance(leaf, str) else leaf.role for leaf in leaves]
