"""A target that can be called -> what each of its parameters does, and how much work."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
from flax import linen as nn

from explorer.analyses.role_report import RoleReport, RoleRow, component_work, totals
from explorer.architectures.listed import stacks_of
from explorer.architectures.resolve import Known, resolve
from explorer.dtypes import is_trainable
from explorer.errors import TreeError, printable
from explorer.identify.state import state_of
from explorer.inventory.tensor import PARAMS
from explorer.models.transformer import Transformer
from explorer.objects.calls import Call, of_function, of_linen, of_nnx
from explorer.objects.imports import import_attribute, looks_importable
from explorer.objects.linen import abstract_init
from explorer.roles.dataflow import Use
from explorer.roles.names import classify
from explorer.storage.local import exists
from explorer.tree.collections import collection_of
from explorer.tree.walk import walk

__all__ = ["report_roles"]

_LENGTH = 128
_DENSE = "routed experts are computed densely: active parameters were not measured"
_SPARSE = "routed experts are computed sparsely: active parameters are measured from use"


def report_roles(target: Any, *inputs: Any, length: int | None = None) -> RoleReport:
    """Return what each parameter of a target does, by its use, and how much work it is.

    Args:
        target: a catalogued name, a config or a path of one (a call on one sequence);
            `package.module:attribute` that gives (module, *inputs), (fn, params, inputs) or
            a function returning one; or such a tuple or module itself.
        *inputs: example inputs of a module given alone.
        length: tokens of an architecture's sequence; 128 without.

    Raises:
        InputError: as `explore`, or the target cannot be called so.
    """
    if isinstance(target, str | os.PathLike):
        name = os.fspath(target)
        if exists(name) or not looks_importable(name):
            call, stacks = _call_of_architecture(resolve(name), length)
            return _report_of(name, call, stacks)
        found = import_attribute(name)
        return _report_of(name, _call_of(found, inputs))
    if isinstance(target, Mapping) and isinstance(target.get("model_type"), str):
        call, stacks = _call_of_architecture(resolve(target), length)
        return _report_of(str(target["model_type"]), call, stacks)
    call = _call_of(target, inputs)
    return _report_of(type(target).__name__, call)


def _call_of_architecture(known: Known, length: int | None = None) -> tuple[Call, dict]:
    """Return the call of an architecture's scanned module on one sequence or image.

    Also returned: what its tensors stack, by path.
    """
    architecture = known.architecture
    module = Transformer(architecture, scan=True, param_dtype=architecture.dtype)
    patches = architecture.patch_embed
    if patches is not None:
        shape = (1, patches.image, patches.image, patches.channels)
        inputs = jax.ShapeDtypeStruct(shape, jnp.dtype(architecture.dtype))
    else:
        table = architecture.position_embed
        longest = table.rows - table.offset - 1 if table else length or _LENGTH
        tokens = min(length or _LENGTH, longest)
        inputs = jax.ShapeDtypeStruct((1, tokens), jnp.int32)
    # types are inputs too: left out they are all one, and a row of their table a bias
    types = {} if architecture.type_embed is None else {"token_type_ids": inputs}
    variables = abstract_init(module, (inputs,), types)
    call = of_linen(module, variables, (inputs,), types)
    stacks = stacks_of(architecture, scan=True)
    return call, {(PARAMS, *path): stack for path, stack in stacks.items()}


def _call_of(found: Any, inputs: tuple[Any, ...]) -> Call:
    """Return the call of (module, *inputs), of (fn, params, inputs), or of a module and
    inputs given apart.

    Raises:
        TreeError: it is none of these.
    """
    if isinstance(found, tuple) and found and callable(found[0]):
        if not (isinstance(found[0], nn.Module) or _is_nnx(found[0])):
            return of_function(found)
        found, inputs = found[0], (*found[1:], *inputs)
    if isinstance(found, nn.Module):
        return of_linen(found, abstract_init(found, inputs, {}), inputs, {})
    if _is_nnx(found) and inputs:
        return of_nnx(found, inputs, {})
    raise TreeError(
        type(found).__name__,
        found="is nothing that can be called on known inputs",
        expected="(module, *inputs) or (fn, params, inputs), or a function returning one",
    )


def _report_of(
    target: str, call: Call, stacks: Mapping[tuple[str, ...], tuple[int, ...]] | None = None
) -> RoleReport:
    """Return what the parameters of a call do.

    Args:
        target: the name to show.
        call: what to trace; nothing runs.
        stacks: how many alike layers and experts lie along a tensor's leading axes.

    Raises:
        InputError: it cannot be called so.
    """
    traced = call.trace()
    tokens = _tokens(call)
    rows = _with_routed_biases(_rows(call, traced.roles, tokens, stacks or {}))
    parameters = sum(row.parameters for row in rows)
    biases = sum(
        row.parameters
        for row in rows
        if (row.role if row.reached else row.named_role) == "bias"
    )
    return RoleReport(
        target=target,
        inputs=_described(call),
        tokens=tokens,
        rows=rows,
        roles=totals(rows),
        work=component_work(rows, traced.macs, traced.free_macs),
        parameters=parameters,
        weights=parameters - biases,
        biases=biases,
        trainable=sum(r.parameters for r in rows if r.reached and r.differentiable),
        active=sum(row.active for row in rows),
        experts=_experts(rows) if tokens else "",
        macs=traced.macs,
        free_macs=traced.free_macs,
        unused=tuple(row.path for row in rows if not row.reached),
        frozen=tuple(r.path for r in rows if r.reached and not r.differentiable),
        tied=tuple(row.path for row in rows if row.tied),
        disagreements=tuple(
            f"{row.path} is used as {row.role}, its name says {row.named_role}"
            for row in rows
            if row.reached and row.parameters and row.role != row.named_role
        ),
    )


def _rows(
    call: Call, roles: Any, tokens: int, stacks: Mapping[tuple[str, ...], tuple[int, ...]]
) -> Iterator[RoleRow]:
    leaves = walk(call.params)
    seen: set[str] = set()
    for path, leaf, record in zip(
        leaves.paths, leaves.values, walk(roles).values, strict=True
    ):
        shape, dtype = tuple(leaf.shape), str(leaf.dtype)
        named_role, component = classify(path, shape)
        is_second = not seen.isdisjoint(record.shared_with)
        name = "/".join(path)
        seen.add(name)
        learned = _is_parameter(path, shape, dtype) and not is_second
        size = prod(shape) if learned else 0
        is_sparse = any(use.rows for use in record.uses)
        # sparsely, each token multiplies each active weight once
        active = record.macs // tokens if is_sparse and tokens else size
        yield RoleRow(
            path=name.removeprefix(f"{PARAMS}/"),
            shape=shape,
            stack=stacks.get(path, ()),
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
            tied=record.tied or is_second,
        )


def _with_routed_biases(rows: Iterable[RoleRow]) -> tuple[RoleRow, ...]:
    """Return the rows with the biases of sparsely computed experts as active as the kernels
    beside them: a token takes the rows of its experts from both."""
    found = tuple(rows)
    kernels = {
        row.path.rpartition("/")[0]: row
        for row in found
        if row.role == "kernel" and 0 < row.active < row.parameters
    }

    def routed(row: RoleRow) -> RoleRow:
        kernel = kernels.get(row.path.rpartition("/")[0])
        if kernel is None or row.role != "bias":
            return row
        active = row.parameters * kernel.active // kernel.parameters
        return msgspec.structs.replace(row, active=active)

    return tuple(map(routed, found))


def _is_parameter(path: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> bool:
    collection = collection_of(path)
    return (
        collection in ("", PARAMS)
        and is_trainable(dtype)
        and state_of(path, shape, dtype) is None
    )


def _phrase(use: Use) -> str:
    times = "" if use.times == 1 else " × ?" if use.times is None else f" ×{use.times:,}"
    sparse = " (routed)" if use.rows else ""
    return f"{use.manner}{sparse}{times}"


def _experts(rows: tuple[RoleRow, ...]) -> str:
    """Return how routed experts are computed, where there are any."""
    routed = [r for r in rows if r.component == "experts" and r.role == "kernel"]
    if not routed:
        return ""
    return _SPARSE if all(row.active < row.parameters for row in routed) else _DENSE


def _tokens(call: Call) -> int:
    """Return the tokens of a call: the elements of its first input where that is a batch of
    sequences of integers."""
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


def _is_nnx(found: Any) -> bool:
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(found, nnx.Module)
