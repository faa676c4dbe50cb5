"""Operations with an inner jaxpr: how to interpret it, or that it cannot be read."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any

from jax.extend.core import Literal

from explorer.roles.dataflow.axes import EVERY
from explorer.roles.dataflow.contractions import named
from explorer.roles.dataflow.derivatives import backward_of
from explorer.roles.dataflow.layouts import (
    CALLS,
    devices_of,
    inner_of,
    programs_in,
    solve_of,
)
from explorer.roles.dataflow.loops import Values, Walker, branches, scan, while_loop
from explorer.roles.dataflow.rules import OPAQUE
from explorer.roles.dataflow.values import CONSTANT, Value, is_inexact, merged, without_grad

__all__ = ["rule_of"]

Rule = Callable[[Walker, Any, Values, Sequence[bool]], Values]


def rule_of(eqn: Any) -> Rule | None:
    """Return how to interpret the inner jaxprs of an operation; None if it has none.

    Parameters that enter a jaxpr of an unknown operation are opaque, not dropped.
    """
    primitive = eqn.primitive
    if primitive not in _KNOWN:
        name = primitive.name
        hides = name not in _PLAIN and any(True for _ in programs_in(eqn))
        _KNOWN[primitive] = _RULES.get(name) or (_opaque if hides else None)
    return _KNOWN[primitive]


def _call(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """A jaxpr that is called once: jit, remat, a function with a custom derivative."""
    return _called(walk, eqn, values, live, 1)


def _on_devices(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """A jaxpr that every device of a mesh runs on its shards."""
    return _called(walk, eqn, values, live, devices_of(eqn))


def _called(
    walk: Walker, eqn: Any, values: Values, live: Sequence[bool], times: int
) -> Values:
    jaxpr, constants = inner_of(eqn)
    with walk.findings.inside(eqn, times):
        return walk.run(jaxpr, [*[CONSTANT] * constants, *values], live)


def _custom(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """A function with a custom derivative (a straight-through estimator): its rule decides
    which operands get a gradient."""
    results = _call(walk, eqn, values, live)
    union = merged(values).grad
    if not union:
        return results
    backward = backward_of(eqn)
    if backward is None:
        grads = [union & result.reach for result in results]
    else:
        grads = _passed(walk, eqn, values, backward)
    return [
        result._replace(grad=grad if is_inexact(var) else 0)
        for var, result, grad in zip(eqn.outvars, results, grads, strict=True)
    ]


def _passed(walk: Walker, eqn: Any, values: Values, backward: Any) -> list[int]:
    """Return for each result the parameters that its gradient reaches."""
    count = len(eqn.outvars)
    constants = [CONSTANT] * (len(backward.invars) - count)
    gradients = [Value(data=True, reach=1 << number) for number in range(count)]
    with walk.findings.quiet():
        found = walk.run(backward, [*constants, *gradients], [True] * len(backward.outvars))
    inexact = (v.grad for v, var in zip(values, eqn.invars) if type(var) is not Literal)
    operands = list(zip(inexact, found, strict=True))
    return [
        reduce(or_, (grad for grad, by in operands if by.reach >> number & 1), 0)
        for number in range(count)
    ]


def _linear_solve(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """A linear system: solved by one jaxpr, differentiated through another."""
    solve, constants, right = solve_of(eqn)
    with walk.findings.inside(eqn):
        results = walk.run(solve, [*values[constants], *values[right]], live)
    grad = merged(values).grad
    return [result._replace(grad=result.grad | grad & result.reach) for result in results]


def _opaque(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """A jaxpr that cannot be read: a Pallas kernel, or an unknown operation."""
    union = merged(values)._replace(traits=0, axes=EVERY, copied=0)
    if union.data:
        for operand, value in enumerate(values):
            if value.made_of:
                walk.findings.use(eqn, operand, value, OPAQUE)
        union = union._replace(made_of=0)
    return [union if is_inexact(var) else without_grad(union) for var in eqn.outvars]


def _callback(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """Python code, through which no gradient passes."""
    return [without_grad(value) for value in _opaque(walk, eqn, values, live)]


_KNOWN: dict[Any, Rule | None] = {}
# operations whose jaxpr only combines two numbers
_PLAIN = named(
    """reduce reduce_window scatter scatter-add scatter-mul scatter-min scatter-max
    scatter-sub select_and_scatter"""
)
_RULES: dict[str, Rule] = {
    **dict.fromkeys(CALLS, _call),
    **dict.fromkeys(
        named("custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr"), _custom
    ),
    **dict.fromkeys(named("pallas_call ffi_call call_hi_primitive"), _opaque),
    "shard_map": _on_devices,
    "scan": scan,
    "while": while_loop,
    "cond": branches,
    "custom_linear_solve": _linear_solve,
    "pure_callback": _callback,
}
