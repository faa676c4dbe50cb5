"""What each parameter does, by its use: the record behind `explorer roles`."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from explorer.document.exporting import Exportable
from explorer.inventory.tensor import Component, Role
from explorer.roles.names import decide

__all__ = [
    "ComponentWork",
    "Disagreement",
    "RoleReport",
    "RoleRow",
    "RoleTotal",
    "report_of_rows",
]

_ROLES: tuple[Role, ...] = ("kernel", "embedding", "scale", "bias", "other")


class RoleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor: its role by use and by name, how it is used, and its multiply-adds.

    Attributes:
        stack: how many equal layers, then experts, are stacked along the leading axes.
        parameters: its unique trainable elements: 0 of state, and of a second name.
        role: by use.
        named_role: by name.
        uses: phrases ("contracted ×58").
        sources: the lines of code of those uses.
        macs: multiply-adds of one call.
        active: the parameters that one token uses, where experts are computed sparsely;
            else all of them.
        reached: whether an output depends on it.
        differentiable: whether a gradient reaches it and, if an optimizer was given, an
            update does.
        tied: whether it is an embedding that is the output projection too, or shares its array.
    """

    path: str
    shape: tuple[int, ...]
    stack: tuple[int, ...]
    parameters: int
    role: Role
    named_role: Role
    component: Component
    uses: tuple[str, ...]
    sources: tuple[str, ...]
    macs: int
    active: int
    reached: bool
    differentiable: bool
    tied: bool

    @property
    def counted_role(self) -> Role:
        """Its role by use; by name where nothing uses it, or its use does not decide."""
        if not self.reached:
            return self.named_role
        return decide(self.role, self.named_role, self.shape)

    @property
    def trainable(self) -> bool:
        """Whether training changes it."""
        return self.reached and self.differentiable


class RoleTotal(msgspec.Struct, frozen=True):
    """The tensors of one role."""

    role: str
    tensors: int
    parameters: int
    macs: int


class ComponentWork(msgspec.Struct, frozen=True):
    """The multiply-adds of one part of the network, in one call."""

    component: str
    macs: int


class Disagreement(msgspec.Struct, frozen=True):
    """A parameter whose name says another role than its use."""

    path: str
    by_use: Role
    by_name: Role
    parameters: int

    def __str__(self) -> str:
        return f"{self.path} is used as {self.by_use}, its name says {self.by_name}"


class RoleReport(Exportable, frozen=True, kw_only=True):
    """What a model's parameters do in one call; all counts are sums over its rows.

    Attributes:
        target: the model's name, as shown to the user.
        inputs: what the call was traced on.
        tokens: how many tokens those are; 0 if the input is not a sequence.
        rows: one for each tensor.
        roles: totals by role.
        work: multiply-adds by component; together they are `macs`.
        parameters: unique trainable elements: `weights` + `biases`.
        trainable: those that training changes.
        active: those that one token uses.
        experts: how routed experts are computed.
        macs: multiply-adds of all contractions; two FLOPs each.
        free_macs: those between data and data, which belong to no parameter (the scores of
            attention).
        unused: tensors that no output depends on.
        frozen: tensors that are used and get no gradient, or no update.
        tied: embeddings that are the output projection too, and arrays that are shared.
        disagreements: parameters whose names say another role than their use.
    """

    target: str
    inputs: str
    tokens: int
    rows: tuple[RoleRow, ...]
    roles: tuple[RoleTotal, ...]
    work: tuple[ComponentWork, ...]
    parameters: int
    weights: int
    biases: int
    trainable: int
    active: int
    experts: str
    macs: int
    free_macs: int
    unused: tuple[str, ...]
    frozen: tuple[str, ...]
    tied: tuple[str, ...]
    disagreements: tuple[Disagreement, ...]


def report_of_rows(
    rows: Sequence[RoleRow],
    *,
    macs: int,
    free_macs: int = 0,
    target: str = "",
    inputs: str = "",
    tokens: int = 0,
    experts: str = "",
) -> RoleReport:
    """Return the report whose figures are the sums of its rows; arguments as its fields."""
    parameters = _parameters(rows)
    biases = _parameters(row for row in rows if row.counted_role == "bias")
    return RoleReport(
        target=target,
        inputs=inputs,
        tokens=tokens,
        rows=tuple(rows),
        roles=_totals(rows),
        work=_work(rows, macs, free_macs),
        parameters=parameters,
        weights=parameters - biases,
        biases=biases,
        trainable=_parameters(row for row in rows if row.trainable),
        active=sum(row.active for row in rows),
        experts=experts,
        macs=macs,
        free_macs=free_macs,
        unused=tuple(row.path for row in rows if not row.reached),
        frozen=tuple(row.path for row in rows if row.reached and not row.trainable),
        tied=tuple(row.path for row in rows if row.tied),
        disagreements=tuple(
            Disagreement(row.path, row.role, row.named_role, row.parameters)
            for row in rows
            if row.reached and row.parameters and row.role != row.named_role
        ),
    )


def _parameters(rows: Iterable[RoleRow]) -> int:
    return sum(row.parameters for row in rows)


def _totals(rows: Iterable[RoleRow]) -> tuple[RoleTotal, ...]:
    """Return the tensors of each role, and of those that nothing uses."""
    groups: dict[str, list[RoleRow]] = {role: [] for role in (*_ROLES, "unused")}
    for row in rows:
        groups[row.role if row.reached else "unused"].append(row)
    return tuple(
        RoleTotal(role, len(group), _parameters(group), sum(row.macs for row in group))
        for role, group in groups.items()
        if group
    )


def _work(rows: Iterable[RoleRow], macs: int, free_macs: int) -> tuple[ComponentWork, ...]:
    """Return the multiply-adds of each component, the largest first, then the others."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row.component] += row.macs
    rest = macs - sums.total() - free_macs
    others = (("data with data", free_macs), ("unattributed", rest))
    return tuple(
        ComponentWork(name, number)
        for name, number in (*sums.most_common(), *others)
        if number
    )
