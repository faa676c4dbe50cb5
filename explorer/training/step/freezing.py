"""Some parameters keep their values while the others are trained."""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import KW_ONLY, dataclass
from math import prod
from typing import Any, NamedTuple, get_args

import jax
import optax
from jax import lax

from explorer.errors import InputError, TreeError, check_type, shown
from explorer.inventory.tensor import Role
from explorer.paths import matches, name_of
from explorer.roles.names import classify
from explorer.training.step.optimizer_parts import of_part
from explorer.tree.nesting import check_tree
from explorer.tree.types import Params, PyTree
from explorer.tree.walk import Path, names_of

__all__ = ["FROZEN", "TRAINED", "Freeze", "Freezing", "freeze", "stopped"]

FROZEN, TRAINED = "frozen", "trained"
_WORDS = (*get_args(Role), "weight")


@dataclass(frozen=True, eq=False)
class Freezing:
    """Which parameters keep their values while the others are trained.

    Args:
        globs: one or several, of paths.
        roles: one or several of kernel, embedding, scale, bias, other; or weight, which is
            every role but bias.
        role_tree: where names do not decide: a tree like the parameters with a role, or
            what `trace_roles` found, at each leaf.

    >>> params = {"dense": {"kernel": jax.numpy.ones((4, 3)), "bias": jax.numpy.ones(3)}}
    >>> Freezing(roles="bias").labels(params)
    {'dense': {'bias': 'frozen', 'kernel': 'trained'}}
    """

    globs: str | Sequence[str] = ()
    _: KW_ONLY
    roles: str | Sequence[str] = ()
    role_tree: PyTree = None

    def __post_init__(self) -> None:
        for name in ("globs", "roles"):
            object.__setattr__(self, name, _several(name, getattr(self, name)))

    def labels(self, params: Params) -> PyTree:
        """Return "trained" or "frozen" for every parameter tensor.

        Args:
            params: a tree of parameters, or of their shapes.

        Raises:
            InputError: a role or a glob matches no parameter, or all are frozen.
            TreeError: `role_tree` has another structure.
        """
        check_tree(params)
        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        if not leaves:
            raise TreeError("params", found="no parameters", expected="a tree of arrays")
        for keys, leaf in leaves:
            if not isinstance(getattr(leaf, "shape", None), tuple):
                place = name_of(names_of(keys)) or "params"
                check_type(place, leaf, (), "an array or its shape")
        paths = [names_of(keys) for keys, _ in leaves]
        role_of = _given_roles(self.role_tree, treedef) or [
            classify(path, tuple(leaf.shape))[0]
            for path, (_, leaf) in zip(paths, leaves, strict=True)
        ]
        held = {index for word in self.roles for index in _of_role(word, role_of)}
        held |= {index for glob in self.globs for index in _of_glob(glob, paths)}
        if not held or len(held) == len(paths):
            found = "all parameters are frozen" if held else "neither a role nor a glob"
            raise InputError("freeze", found=found, expected="some of the parameters")
        return treedef.unflatten(
            FROZEN if index in held else TRAINED for index in range(len(paths))
        )

    def count(self, params: Params) -> tuple[int, int]:
        """Return how many parameters are trained and how many are frozen.

        >>> Freezing("b").count({"a": jax.numpy.ones((2, 2)), "b": jax.numpy.ones(2)})
        (4, 2)
        """
        sizes = {TRAINED: 0, FROZEN: 0}
        labels = jax.tree.leaves(self.labels(params))
        for leaf, label in zip(jax.tree.leaves(params), labels, strict=True):
            sizes[label] += prod(leaf.shape)
        return sizes[TRAINED], sizes[FROZEN]

    def optimizer(
        self, optimizer: optax.GradientTransformation
    ) -> optax.GradientTransformation:
        """Return an optimizer that neither sees nor changes the frozen parameters."""
        parts: dict[Hashable, Any] = {
            TRAINED: of_part(optimizer),
            FROZEN: optax.set_to_zero(),
        }
        return optax.multi_transform(parts, self.labels)


class Freeze(NamedTuple):
    """An optimizer that leaves some parameters unchanged, and how many those are.

    `labels` has "trained" or "frozen" in the place of every parameter tensor; `trainable`
    and `frozen` count parameters.

    >>> params = {"dense": {"kernel": jax.numpy.ones((4, 3)), "bias": jax.numpy.ones(3)}}
    >>> frozen = freeze(optax.adam(1e-3), params, globs="**/bias")
    >>> frozen.trainable, frozen.frozen, frozen.labels
    (12, 3, {'dense': {'bias': 'frozen', 'kernel': 'trained'}})
    """

    optimizer: optax.GradientTransformation
    labels: PyTree
    trainable: int
    frozen: int


def freeze(
    optimizer: optax.GradientTransformation,
    params: Params,
    *,
    roles: str | Sequence[str] = (),
    globs: str | Sequence[str] = (),
    role_tree: PyTree = None,
) -> Freeze:
    """Return an optimizer that never changes the parameters that a role or glob names.

    This includes weight decay and momentum: the optimizer does not see frozen parameters,
    and keeps no moments of them. `make_train_step(labels=)` saves their gradients too.

    Args:
        optimizer: of the other parameters.
        params: a tree of parameters, or of their shapes.
        roles, globs, role_tree: as for `Freezing`.

    Raises:
        InputError, TreeError: as `Freezing.labels`.

    >>> import optax
    >>> params = {"dense": {"kernel": jax.numpy.ones((4, 3)), "bias": jax.numpy.ones(3)}}
    >>> found = freeze(optax.adamw(1e-3), params, roles=["bias"])
    >>> found.trainable, found.frozen, found.labels
    (12, 3, {'dense': {'bias': 'frozen', 'kernel': 'trained'}})
    """
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        check_type("optimizer", optimizer, (), "an optax transformation")
    freezing = Freezing(globs, roles=roles, role_tree=role_tree)
    optimizer, labels = freezing.optimizer(optimizer), freezing.labels(params)
    return Freeze(optimizer, labels, *freezing.count(params))


def stopped(params: Params, labels: PyTree | Callable[[Params], PyTree] | None) -> Params:
    """Return parameters of which the frozen ones have no gradient.

    Args:
        params: a tree of parameters.
        labels: of `freeze`, or a function that returns them; None where all are trained.
    """
    if labels is None:
        return params
    if callable(labels):
        labels = labels(params)

    def stop(leaf: Any, label: str) -> Any:
        return lax.stop_gradient(leaf) if label == FROZEN else leaf

    return jax.tree.map(stop, params, labels)


def _several(what: str, given: Any) -> tuple[str, ...]:
    """Return one string or several as a tuple: a string is not a sequence of letters here."""
    several = (given,) if isinstance(given, str) else given
    if not isinstance(several, Collection) or not all(
        isinstance(word, str) for word in several
    ):
        raise InputError(
            f"freeze({what}=)",
            found=shown(given, 60),
            expected=f"one or several of the {what}, each a string",
        )
    return tuple(several)


def _of_role(word: str, role_of: Sequence[str]) -> list[int]:
    if word not in _WORDS:
        raise InputError(
            "freeze(roles=)",
            found=shown(word, 60),
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
            found=f"{shown(glob, 60)} matches no parameter",
            expected=f"a glob of paths such as {name_of(paths[0])}",
        )
    return found


def _given_roles(role_tree: Any, treedef: Any) -> list[str] | None:
    if role_tree is None:
        return None

    def is_role(node: Any) -> bool:
        return isinstance(node, str) or hasattr(node, "role")

    check_tree(role_tree)
    leaves, structure = jax.tree.flatten(role_tree, is_leaf=is_role)
    if structure != treedef or not all(map(is_role, leaves)):
        raise TreeError(
            "role_tree",
            found=f"a tree of {len(leaves)} leaves",
            expected=f"the structure of params, {treedef.num_leaves} leaves, each a role",
        )
    return [leaf if isinstance(leaf, str) else leaf.role for leaf in leaves]
