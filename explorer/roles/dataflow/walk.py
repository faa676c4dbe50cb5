"""A program -> what is known of its results, and every use of a parameter on the way."""

from collections.abc import Sequence
from typing import Any

from jax.extend.core import Literal

from explorer.roles.dataflow.contractions import CONTRACTIONS
from explorer.roles.dataflow.liveness import Liveness
from explorer.roles.dataflow.meetings import LOOKUP, is_looked_up, meeting_of
from explorer.roles.dataflow.notes import Notes
from explorer.roles.dataflow.programs import rule_of
from explorer.roles.dataflow.traits import NOISE, is_zero, traits_of
from explorer.roles.dataflow.values import (
    CONSTANT,
    GIVEN,
    VARIED,
    ZERO,
    ZEROS,
    Value,
    is_inexact,
    merged,
    without_grad,
)

__all__ = ["Walk"]

_GIVEN = Value(traits=VARIED | GIVEN)
# no gradient passes, though the result is a float
_FLAT = frozenset(("stop_gradient", "floor", "ceil", "round", "sign", "nextafter"))


class Walk:
    """One pass over a program; `notes` holds what it found."""

    def __init__(self, sizes: Sequence[int]):
        self.notes = Notes(sizes)
        self.liveness = Liveness()

    def run(
        self,
        jaxpr: Any,
        inputs: Sequence[Value],
        live: Sequence[bool],
        given: Value = _GIVEN,
    ) -> list[Value]:
        """Return the values of a jaxpr's results.

        Args:
            jaxpr: an open one.
            inputs: values of its invars.
            live: which results matter; uses that only others need are none.
            given: what arrays are that the program closes over.
        """
        known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
        for var in jaxpr.constvars:
            known[var] = given
        needed = self.liveness.of(jaxpr, tuple(live))
        for eqn, wanted in zip(jaxpr.eqns, needed.results, strict=True):
            if wanted is None:
                continue
            values = [_read(known, var) for var in eqn.invars]
            rule = rule_of(eqn)
            if rule is not None:
                known.update(zip(eqn.outvars, rule(self, eqn, values, wanted), strict=True))
                continue
            out = self._apply(eqn, values)
            for var in eqn.outvars:
                known[var] = out if not out.grad or is_inexact(var) else without_grad(out)
        return [_read(known, var) for var in jaxpr.outvars]

    def _apply(self, eqn: Any, values: list[Value]) -> Value:
        """Return the results of an operation without a program inside, as one."""
        name = eqn.primitive.name
        if name in CONTRACTIONS:
            return self._contract(eqn, values)
        if name in NOISE:
            return Value(reach=merged(values).reach, traits=GIVEN)
        out = self._meet(eqn, values)
        return without_grad(out) if name in _FLAT else out

    def _contract(self, eqn: Any, values: list[Value]) -> Value:
        whole = merged(values)
        if whole.made_of and not whole.data:
            # a parameter that is contracted with what the program was given acts on it
            values = [_as_data(value) for value in values]
        owners = 0 if is_zero(eqn, values) else whole.made_of
        with self.notes.contraction(eqn, owners):
            return self._meet(eqn, values)

    def _meet(self, eqn: Any, values: list[Value]) -> Value:
        """Return what an operation makes of its operands; note which parameters end here."""
        whole = merged(values)
        if whole.traits & ZERO and is_zero(eqn, values):
            return ZEROS
        if whole.made_of and whole.data:
            values, ends = self._followed(eqn, values)
            whole = merged(values)
            if ends:
                whole = whole._replace(made_of=0)
        traits = traits_of(eqn, values, whole)
        return whole if traits == whole.traits else Value(*whole[:4], traits)

    def _followed(self, eqn: Any, values: list[Value]) -> tuple[list[Value], bool]:
        """Return the operands as they go on, and whether a parameter ends here."""
        values = list(values)
        for operand, value in enumerate(values):
            if is_looked_up(eqn, values, operand):
                self.notes.use(eqn, operand, value, LOOKUP)
                values[operand] = value._replace(made_of=0)
        if not any(value.is_data for value in values):
            return values, False
        ends = False
        for operand, value in enumerate(values):
            if value.made_of:
                meeting = meeting_of(eqn, values, operand)
                if meeting is None:
                    self.notes.picked(eqn, operand, value)
                else:
                    ends = True
                    self.notes.use(eqn, operand, value, meeting)
        return values, ends


def _read(known: dict[Any, Value], var: Any) -> Value:
    if type(var) is Literal:
        return CONSTANT if getattr(var.val, "shape", ()) or var.val else ZEROS
    # what no live result needs was not computed (keys that a scan splits and none draws)
    return known.get(var, CONSTANT)


def _as_data(value: Value) -> Value:
    is_given = value.traits & GIVEN and not value.made_of
    return value._replace(data=True) if is_given else value
