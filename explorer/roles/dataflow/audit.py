"""The summary of a trace: what is unused, frozen, tied, and where names mislead."""

from math import prod
from typing import Any

import jax
import msgspec

from explorer.errors import TreeError
from explorer.inventory.tensor import Role
from explorer.roles.dataflow.arguments import paths_of
from explorer.roles.dataflow.records import ParameterRole
from explorer.roles.dataflow.trainable import changed_by
from explorer.roles.names import classify

__all__ = ["Disagreement", "RoleAudit", "audit_roles"]


class Disagreement(msgspec.Struct, frozen=True):
    """A parameter whose name says another role than its use."""

    path: str
    by_use: Role
    by_name: Role
    parameters: int


class RoleAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's parameters do, summed up; counts are of elements, shared ones once.

    `unused` reach no output, `frozen` are used and get no gradient or no update, `tied` are
    embeddings that project as well. `trainable` elements are those that training changes.
    """

    parameters: int
    weights: int
    biases: int
    trainable: int
    unused: tuple[str, ...]
    frozen: tuple[str, ...]
    tied: tuple[str, ...]
    disagreements: tuple[Disagreement, ...]


def audit_roles(roles: Any, params: Any, optimizer: Any = None) -> RoleAudit:
    """Return the summary of roles that `trace_roles` found.

    Args:
        roles: the tree that it returned.
        params: the parameters that it was given: for shapes and names.
        optimizer: an optax transformation; a leaf whose update it sets to zero is frozen.

    Raises:
        TreeError: the two trees differ.

    >>> import jax.numpy as jnp
    >>> from explorer.roles.dataflow import trace_roles
    >>> params = {"gamma": jnp.ones(2), "dead": jnp.ones(3)}
    >>> audit = audit_roles(trace_roles(lambda p, x: x + p["gamma"], params, jnp.ones(2)), params)
    >>> audit.biases, audit.unused, audit.disagreements[0].by_name
    (2, ('dead',), 'scale')
    """
    leaves, names = jax.tree.leaves(params), paths_of(params)
    records = jax.tree.leaves(roles, is_leaf=lambda x: isinstance(x, ParameterRole))
    if len(records) != len(leaves) or not all(
        isinstance(r, ParameterRole) for r in records
    ):
        raise TreeError(
            "roles",
            found=f"{len(records)} leaves",
            expected=f"a ParameterRole for each of the {len(leaves)} parameters",
        )
    changed = [True] * len(leaves) if optimizer is None else changed_by(optimizer, params)
    rows = [
        _Row(name, tuple(leaf.shape), record, change)
        for name, leaf, record, change in zip(names, leaves, records, changed, strict=True)
    ]
    seen: set[str] = set()
    unique = [row for row in rows if not _is_second(row, seen)]
    biases = sum(row.size for row in unique if row.role == "bias")
    return RoleAudit(
        parameters=sum(row.size for row in unique),
        weights=sum(row.size for row in unique) - biases,
        biases=biases,
        trainable=sum(row.size for row in unique if row.learns),
        unused=tuple(row.name for row in rows if not row.record.reached),
        frozen=tuple(row.name for row in rows if row.record.reached and not row.learns),
        tied=tuple(row.name for row in rows if row.record.tied or row.record.shared_with),
        disagreements=tuple(
            Disagreement(row.name, row.record.role, row.named_role, row.size)
            for row in rows
            if row.record.reached and row.record.role != row.named_role
        ),
    )


class _Row(msgspec.Struct):
    name: str
    shape: tuple[int, ...]
    record: ParameterRole
    changed: bool

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def named_role(self) -> Role:
        return classify(tuple(self.name.split("/")), self.shape)[0]

    @property
    def role(self) -> Role:
        """By use; of a parameter that nothing uses, by name."""
        return self.record.role if self.record.reached else self.named_role

    @property
    def learns(self) -> bool:
        return self.record.reached and self.record.differentiable and self.changed


def _is_second(row: _Row, seen: set[str]) -> bool:
    """Say whether a leaf is an array that is counted under another name already."""
    seen.add(row.name)
    return not seen.isdisjoint(row.record.shared_with)
