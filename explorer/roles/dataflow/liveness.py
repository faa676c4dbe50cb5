"""Which operations of a program its results depend on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.extend.core import Literal

from explorer.roles.dataflow.layouts import (
    WITH_INNER,
    branches_of,
    inner_of,
    programs_in,
    scan_of,
    while_of,
)

__all__ = ["ImpureError", "Liveness", "Needed"]

Flags = tuple[bool, ...]
# effects that change no result: printing, and communication between devices of a mesh
_HARMLESS = ("Debug", "NamedAxis")


class ImpureError(Exception):
    """An operation with side effects; the message is its name."""


class Needed(NamedTuple):
    """What the live results of a program depend on.

    Attributes:
        inputs: which of its inputs.
        results: for each operation, which of its results; None if none is.
        inner: for a loop, which results of its body.
    """

    inputs: Flags
    results: tuple[Flags | None, ...]
    inner: Flags = ()


class Liveness:
    """Computes what programs need, each program once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Flags], Needed] = {}
        self._kept: list[Any] = []  # an id identifies a program only while that is alive

    def of(self, jaxpr: Any, live: Flags) -> Needed:
        """Return what the live results of a program need.

        Raises:
            ImpureError: an operation has side effects.
        """
        key = (id(jaxpr), live)
        if key not in self._known:
            self._kept.append(jaxpr)
            self._known[key] = self._find(jaxpr, live)
        return self._known[key]

    def _find(self, jaxpr: Any, live: Flags) -> Needed:
        wanted = _variables(jaxpr.outvars, live)
        results: list[Flags | None] = []
        for eqn in reversed(jaxpr.eqns):
            if eqn.effects and _is_impure(eqn):
                raise ImpureError(_culprit(eqn).primitive.name)
            flags = tuple([var in wanted for var in eqn.outvars])
            if True not in flags:
                results.append(None)
                continue
            results.append(flags)
            wanted |= _variables(eqn.invars, self._operands(eqn, flags))
        results.reverse()
        return Needed(tuple([var in wanted for var in jaxpr.invars]), tuple(results))

    def _operands(self, eqn: Any, flags: Flags) -> Sequence[bool]:
        """Return which operands of an operation its live results need."""
        name = eqn.primitive.name
        if name in WITH_INNER:
            program, extra = inner_of(eqn)
            return self.of(program, flags).inputs[extra:]
        if name == "scan":
            return self.scan(eqn, flags).inputs
        if name == "while":
            return self.loop(eqn, flags).inputs
        if name == "cond":
            inner = [self.of(branch, flags).inputs for branch in branches_of(eqn)]
            return [True, *map(any, zip(*inner, strict=True))]
        return [True] * len(eqn.invars)

    def scan(self, eqn: Any, flags: Flags) -> Needed:
        """Return what a scan needs: a carry that a live one depends on is live too."""
        body, first, count, *_ = scan_of(eqn)
        live = _fixed_point(
            flags, count, lambda live: self.of(body, live).inputs[first : first + count]
        )
        return Needed(self.of(body, live).inputs, (), live)

    def loop(self, eqn: Any, flags: Flags) -> Needed:
        """Return what a while loop needs: its condition's operands are live."""
        body, first, count, condition, consts = while_of(eqn)
        tested = self.of(condition, (True,)).inputs
        live = tuple(map(max, flags, tested[consts:]))
        live = _fixed_point(live, count, lambda live: self.of(body, live).inputs[first:])
        constants = self.of(body, live).inputs[:first]
        return Needed((*tested[:consts], *constants, *live), (), live)


def _fixed_point(live: Flags, carry: int, needs: Callable[[Flags], Flags]) -> Flags:
    """Return the live results of a loop's body, whose first ones are the next step's carry."""
    while True:
        joined = (*map(max, live[:carry], needs(live)), *live[carry:])
        if joined == live:
            return live
        live = joined


def _variables(variables: Sequence[Any], flags: Sequence[bool]) -> set[Any]:
    return {
        var
        for var, is_live in zip(variables, flags, strict=True)
        if is_live and type(var) is not Literal
    }


def _is_impure(eqn: Any) -> bool:
    return not all(type(effect).__name__.startswith(_HARMLESS) for effect in eqn.effects)


def _culprit(eqn: Any) -> Any:
    """Return the innermost operation that has the side effects."""
    for program in programs_in(eqn):
        for inner in filter(_is_impure, program.eqns):
            return _culprit(inner)
    return eqn
