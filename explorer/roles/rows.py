"""The trace of a call -> the report of what each parameter does."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from msgspec.structs import replace

from explorer.errors import TreeError, check_type, printable
from explorer.inventory.experts import find_experts
from explorer.inventory.tensor import PARAMS
from explorer.roles.call import Call
from explorer.roles.dataflow import ParameterRole, Use, trace
from explorer.roles.dataflow.arguments import names_of
from explorer.roles.dataflow.trainable import changed_by
from explorer.roles.names import classify
from explorer.roles.report import RoleReport, RoleRow, report_of_rows
from explorer.roles.settings import is_array, split_settings
from explorer.tree.nesting import check_tree
from explorer.tree.types import Params, PyTree

__all__ = ["report_of_call", "report_of_roles"]

_DENSE = "routed experts are computed densely: active parameters were not measured"
_SPARSE = "routed experts are computed sparsely: active parameters are measured from use"
_NO_TOKENS = "the input is not a batch of tokens: active parameters of routed experts were not measured"

# whether training changes an array, by its path, shape and dtype
IsParameter = Callable[[tuple[str, ...], tuple[int, ...], str], bool]


def report_of_call(call: Call, is_parameter: IsParameter) -> RoleReport:
    """Return what the parameters of a call do; nothing runs.

    Raises:
        InputError: the function cannot be called with its inputs.
    """
    traced = trace(call.fn, call.params, *call.inputs, **call.kwargs)
    tokens = _tokens(call)
    rows = _rows(traced.roles, call.params, is_parameter, tokens, call)
    rows = _with_routed_biases(rows)
    return report_of_rows(
        rows,
        macs=traced.macs,
        free_macs=traced.free_macs,
        target=call.name,
        inputs=_described(call),
        tokens=tokens,
        experts=_experts(rows, tokens),
    )


def report_of_roles(
    roles: PyTree, params: Params, is_parameter: IsParameter, optimizer: Any = None
) -> RoleReport:
    """Return what parameters do by roles that were traced before.

    Work between data and data is not in them, so that `free_macs` is 0.

    Raises:
        TreeError: the trees of roles and parameters differ.
        InputError: the optimizer does not fit the parameters.
    """
    rows = _rows(roles, params, is_parameter)
    if optimizer is not None:
        changed = changed_by(optimizer, params)
        rows = [
            replace(row, differentiable=row.differentiable and change)
            for row, change in zip(rows, changed, strict=True)
        ]
    return report_of_rows(rows, macs=sum(row.macs for row in rows))


def _rows(
    roles: PyTree,
    params: Params,
    is_parameter: IsParameter,
    tokens: int = 0,
    call: Call | None = None,
) -> list[RoleRow]:
    params = split_settings(params)[0]
    leaves, paths = jax.tree.leaves(params), names_of(params)
    for path, leaf in zip(paths, leaves, strict=True):
        if not is_array(leaf):
            check_type("/".join(("params", *path)), leaf, (), "an array or its shape")
    check_tree(roles)
    records = jax.tree.leaves(roles)
    if len(records) != len(leaves) or not all(
        isinstance(record, ParameterRole) for record in records
    ):
        raise TreeError(
            "roles",
            found=f"{len(records)} leaves",
            expected=f"a ParameterRole for each of the {len(leaves)} parameters",
        )
    _check_fits(roles, records, paths, leaves)
    seen: set[str] = set()
    rows = []
    for path, leaf, record in zip(paths, leaves, records, strict=True):
        shape = tuple(leaf.shape)
        # an array that several leaves share counts at the first of them
        is_unique = seen.isdisjoint(record.shared_with)
        seen.add("/".join(path))
        learned = is_unique and is_parameter(path, shape, str(leaf.dtype))
        row = _row(path, shape, record, prod(shape) * learned, tokens)
        if call is not None:
            stack = call.stacks.get(path, ())
            component = call.components.get(path, row.component)
            row = replace(row, stack=stack, component=component)
        rows.append(row)
    return rows


def _check_fits(
    roles: PyTree,
    records: Sequence[ParameterRole],
    paths: Sequence[tuple[str, ...]],
    leaves: Sequence[Any],
) -> None:
    """Refuse roles of another model: of other paths, or of arrays of other shapes."""
    for given, record, path, leaf in zip(
        names_of(roles), records, paths, leaves, strict=True
    ):
        here, there = "/".join(_inner(path)), "/".join(_inner(given))
        shape = record.shape
        if here != there or shape not in (None, tuple(leaf.shape)):
            raise TreeError(
                "roles",
                found=f"are those of another model: {there} {list(shape or ())}",
                expected=f"{here} {list(leaf.shape)}",
                cure="pass what trace_roles returned for these parameters",
            )


def _inner(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[1:] if path[:1] == (PARAMS,) else path


def _row(
    path: tuple[str, ...],
    shape: tuple[int, ...],
    record: ParameterRole,
    size: int,
    tokens: int,
) -> RoleRow:
    named_role, component = classify(path, shape)
    is_sparse = any(use.rows for use in record.uses)
    if component == "other" and record.reached and record.role == "embedding":
        component = "embedding"
    # sparsely, each token multiplies each active weight once
    active = record.macs // tokens if is_sparse and tokens else size
    return RoleRow(
        path="/".join(path).removeprefix(f"{PARAMS}/"),
        shape=shape,
        stack=(),
        parameters=size,
        role=record.role,
        named_role=named_role,
        component=component,
        uses=tuple(dict.fromkeys(map(_phrase, record.uses))),
        sources=tuple(dict.fromkeys(use.source for use in record.uses if use.source)),
        macs=record.macs,
        active=active if size else 0,
        reached=record.reached,
        differentiable=record.differentiable,
        tied=record.tied or bool(record.shared_with),
    )


def _phrase(use: Use) -> str:
    times = "" if use.times == 1 else " × ?" if use.times is None else f" ×{use.times:,}"
    sparse = " (routed)" if use.rows else ""
    return f"{use.manner}{sparse}{times}"


def _with_routed_biases(rows: Sequence[RoleRow]) -> list[RoleRow]:
    """Return the rows with the biases of sparsely computed experts as active as the kernels
    beside them: a token uses the rows of its experts from both."""
    kernels = {
        row.path.rpartition("/")[0]: row
        for row in rows
        if row.role == "kernel" and 0 < row.active < row.parameters
    }

    def routed(row: RoleRow) -> RoleRow:
        kernel = kernels.get(row.path.rpartition("/")[0])
        if kernel is None or row.role != "bias":
            return row
        return replace(row, active=row.parameters * kernel.active // kernel.parameters)

    return list(map(routed, rows))


def _experts(rows: Sequence[RoleRow], tokens: int) -> str:
    """Return how routed experts are computed, known by name or by structure; empty without
    any."""
    kernels = [row for row in rows if row.role == "kernel" and row.parameters]
    routed = [row for row in kernels if row.component == "experts"]
    if not routed:
        seen = find_experts((tuple(row.path.split("/")), row.shape) for row in kernels)
        names = {"/".join(path) for mixture in seen for path in mixture.kernels}
        routed = [row for row in kernels if row.path in names]
    if not routed:
        return ""
    if not tokens:
        return _NO_TOKENS
    return _SPARSE if all(row.active < row.parameters for row in routed) else _DENSE


def _tokens(call: Call) -> int:
    """Return the tokens of a call: the elements of its first input if that is a batch of
    integer sequences; else 0."""
    leaves = jax.tree.leaves(call.inputs)
    first = leaves[0] if leaves and hasattr(leaves[0], "dtype") else None
    if first is None or not jnp.issubdtype(first.dtype, jnp.integer):
        return 0
    return prod(first.shape)


def _described(call: Call) -> str:
    words = (
        f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]"
        if hasattr(leaf, "shape")
        else repr(leaf)
        for leaf in jax.tree.leaves(call.inputs)
    )
    return printable(", ".join(words), 100)
