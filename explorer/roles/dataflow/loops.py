"""Interpretation of control flow: scans, while loops, branches."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from explorer.roles.dataflow.axes import EVERY
from explorer.roles.dataflow.findings import Findings
from explorer.roles.dataflow.layouts import branches_of, scan_of, while_of
from explorer.roles.dataflow.liveness import Liveness
from explorer.roles.dataflow.rules import LOOKUP, OTHER, PLACED
from explorer.roles.dataflow.values import CONSTANT, SLICED_FIRST, ZERO, Value, join

__all__ = ["Values", "Walker", "branches", "scan", "while_loop"]

Values = list[Value]


class Walker(Protocol):
    """What interprets the inner jaxprs."""

    findings: Findings
    liveness: Liveness

    def run(self, jaxpr: Any, inputs: Sequence[Value], live: Sequence[bool]) -> Values:
        """Return the values of a jaxpr's results."""
        ...


def scan(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """Steps over the leading axis of some operands, with a carry between them."""
    length, (body, consts, carry, *_) = eqn.params["length"], scan_of(eqn)
    fixed, start, rows = _split(values, consts, carry)
    if length == 0:
        return [*start, *[CONSTANT] * (len(live) - carry)]
    by_step = any(row.made_of and row.axes & 1 for row in rows)
    rows = list(map(_one_row, rows))
    needed, state = walk.liveness.scan(eqn, tuple(live)), start

    def step(state: Values) -> Values:
        return walk.run(body, [*fixed, *state, *rows], needed.inner)

    with walk.findings.inside(eqn, length):
        if length > 1:
            state = _fixed_carry(walk, start, lambda state: step(state)[:carry])
        results = step(state)
    _record_starts(walk, eqn, consts, start, state)
    ended = results[:carry] if length == 1 else map(join, state, results[:carry])
    return [*ended, *(_stacked(row, by_step) for row in results[carry:])]


def _one_row(rows: Value) -> Value:
    """Return what a step of a scan is given of an operand: without its leading axis."""
    return rows._replace(
        traits=rows.traits & ~SLICED_FIRST, axes=rows.axes >> 1, copied=rows.copied >> 1
    )


def _stacked(row: Value, by_step: bool) -> Value:
    """Return the rows of all steps; `by_step` if each step has parameters of its own."""
    if row.made_of and not row.data:
        return row._replace(axes=EVERY)
    return row._replace(axes=row.axes << 1 | by_step, copied=row.copied << 1)


def while_loop(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """A loop with an unknown number of steps; forward-mode gradients pass it."""
    body, inner, _, condition, outer = while_of(eqn)
    tested, fixed, start = _split(values, outer, inner)
    needed = walk.liveness.loop(eqn, tuple(live))

    def step(state: Values) -> Values:
        return walk.run(body, [*fixed, *state], needed.inner)

    with walk.findings.inside(eqn, None):
        state = _fixed_carry(walk, start, step)
        results = list(map(join, state, step(state)))
        (goes_on,) = walk.run(condition, [*tested, *state], [True])
    _record_starts(walk, eqn, outer + inner, start, state)
    return _selected_by(walk, eqn, goes_on, results)


def branches(walk: Walker, eqn: Any, values: Values, live: Sequence[bool]) -> Values:
    """One of several jaxprs, selected by a number: the union of what they do."""
    index, *operands = values
    with walk.findings.inside(eqn):
        found = [walk.run(branch, operands, live) for branch in branches_of(eqn)]
    results = [_either(walk, eqn, choices) for choices in zip(*found, strict=True)]
    return _selected_by(walk, eqn, index, results)


def _split(values: Values, first: int, second: int) -> tuple[Values, Values, Values]:
    return values[:first], values[first : first + second], values[first + second :]


def _fixed_carry(walk: Walker, state: Values, step: Callable[[Values], Values]) -> Values:
    """Return the carry of a loop after any number of steps: a fixed point of the lattice."""
    with walk.findings.quiet():
        while (joined := list(map(join, state, step(state)))) != state:
            state = joined
    return state


def _record_starts(
    walk: Walker, eqn: Any, first: int, start: Values, state: Values
) -> None:
    """Record the parameters that are the initial state of a loop."""
    for number, (before, after) in enumerate(zip(start, state, strict=True)):
        if after.is_data:
            _record_in_place(walk, eqn, first + number, before)


def _either(walk: Walker, eqn: Any, choices: Sequence[Value]) -> Value:
    """Return what is known about a value that is one of several."""
    result = choices[0]
    for choice in choices[1:]:
        result = join(result, choice)
    if result.is_data:
        for choice in choices:
            _record_in_place(walk, eqn, 0, choice)
    return result


def _record_in_place(walk: Walker, eqn: Any, operand: int, value: Value) -> None:
    """Record that parameters take the place of data."""
    if value.made_of:
        walk.findings.use(eqn, operand, value, LOOKUP if value.is_picked else PLACED)


def _selected_by(walk: Walker, eqn: Any, choice: Value, results: Values) -> Values:
    """Return results that also depend, without a gradient, on what selected them."""
    if choice.made_of and any(result.is_data for result in results):
        walk.findings.use(eqn, 0, choice, OTHER)
    return [
        result
        if result.traits & ZERO
        else result._replace(
            data=result.data or choice.data, reach=result.reach | choice.reach
        )
        for result in results
    ]
