"""What each parameter does, by its use: the record behind `explorer roles`."""

from collections.abc import Iterable

import msgspec

from explorer.inventory.tensor import Component, Role

__all__ = [
    "ComponentWork",
    "RoleReport",
    "RoleRow",
    "RoleTotal",
    "component_work",
    "totals",
]

_ROLES: tuple[Role, ...] = ("kernel", "embedding", "scale", "bias", "other")


class RoleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor: its role by use and by name, how it is used, and its multiply-adds.

    `uses` are phrases ("contracted x58"); `macs` of one call. `active` are the parameters
    that one token meets, where experts are computed sparsely; else all of them.
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


class RoleReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's parameters do in one call with `tokens` tokens.

    `macs` are the multiply-adds of all contractions, `free_macs` those between data and
    data, which no parameter owns (the scores of attention); two FLOPs each. `tokens` is 0
    where the input is no sequence. `experts` says how routed experts are computed.
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
    disagreements: tuple[str, ...]


def totals(rows: Iterable[RoleRow]) -> tuple[RoleTotal, ...]:
    """Return the tensors of each role, and of those that nothing uses."""
    groups: dict[str, list[RoleRow]] = {role: [] for role in (*_ROLES, "unused")}
    for row in rows:
        groups[row.role if row.reached else "unused"].append(row)
    return tuple(
        RoleTotal(
            role,
            len(group),
            sum(row.parameters for row in group),
            sum(row.macs for row in group),
        )
        for role, group in groups.items()
        if group
    )


def component_work(
    rows: Iterable[RoleRow], macs: int, free_macs: int
) -> tuple[ComponentWork, ...]:
    """Return the multiply-adds of each component, the largest first, and of data with data;
    together they are all of them."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.component] = sums.get(row.component, 0) + row.macs
    ordered = sorted(
        ((name, number) for name, number in sums.items() if number),
        key=lambda pair: -pair[1],
    )
    work = [ComponentWork(name, number) for name, number in ordered]
    if free_macs:
        work.append(ComponentWork("data with data", free_macs))
    rest = macs - sum(each.macs for each in work)
    return (*work, *([ComponentWork("unattributed", rest)] if rest else []))
