"""The abstract interpreter: a jaxpr -> values of its results, and the uses of parameters."""

from collections.abc import Sequence
from typing import Any

from jax.extend.core import Literal

from explorer.roles.dataflow.axes import axes_of, features_of
from explorer.roles.dataflow.contractions import CONTRACTIONS
from explorer.roles.dataflow.findings import Findings
from explorer.roles.dataflow.liveness import Liveness
from explorer.roles.dataflow.programs import rule_of
from explorer.roles.dataflow.rules import LOOKUP, PLACED, TABLE, is_looked_up, use_kind
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
# float results through which no gradient passes
_FLAT = frozenset(("stop_gradient", "floor", "ceil", "round", "sign", "nextafter"))


class Walk:
    """One interpretation of a program; `findings` holds the uses and the work."""

    def __init__(self, sizes: Sequence[int]):
        self.findings = Findings(sizes)
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
            jaxpr: an open jaxpr.
            inputs: values of its invars.
            live: which results matter; operations that only others depend on are skipped.
            given: the value of arrays that the program closes over.
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
        """Return one value for all results of an operation without an inner jaxpr."""
        name = eqn.primitive.name
        if name in CONTRACTIONS:
            return self._contract(eqn, values)
        if name in NOISE:
            return Value(reach=merged(values).reach, traits=GIVEN)
        out = self._combine(eqn, values)
        return without_grad(out) if name in _FLAT else out

    def _contract(self, eqn: Any, values: list[Value]) -> Value:
        union = merged(values)
        if union.made_of and not union.data:
            # a parameter that is contracted with closed-over arrays acts on them as on data
            values = [_as_data(value) for value in values]
        owners = 0 if is_zero(eqn, values) else union.made_of
        with self.findings.contraction(eqn, owners):
            return self._combine(eqn, values)

    def _combine(self, eqn: Any, values: list[Value]) -> Value:
        """Return the value of a result; record the parameters whose use is found here."""
        union = merged(values)
        if union.traits & ZERO and is_zero(eqn, values):
            return ZEROS
        if union.made_of and union.data:
            values, ends = self._follow(eqn, values)
            union = merged(values)
            if ends:
                union = union._replace(made_of=0)
        traits = traits_of(eqn, values, union)
        axes, copied = axes_of(eqn, values, union)
        if (traits, axes, copied) == union[4:]:
            return union
        return Value(*union[:4], traits, axes, copied)

    def _follow(self, eqn: Any, values: list[Value]) -> tuple[list[Value], bool]:
        """Return the operands to follow further, and whether a use is found here."""
        values = list(values)
        for operand, value in enumerate(values):
            if is_looked_up(eqn, values, operand):
                self.findings.use(eqn, operand, value, LOOKUP)
                values[operand] = value._replace(made_of=0)
        if not any(value.is_data for value in values):
            return values, False
        ends, found = False, list(values)
        for operand, value in enumerate(values):
            if value.made_of:
                kind = use_kind(eqn, values, operand)
                if kind is None:
                    self.findings.picked(eqn, operand, value)
                else:
                    ends = True
                    self.findings.use(eqn, operand, value, kind)
                    if kind in (TABLE, PLACED):
                        features = features_of(eqn, values, operand)
                        found[operand] = value._replace(axes=features)
        return found, ends


def _read(known: dict[Any, Value], var: Any) -> Value:
    if type(var) is Literal:
        return CONSTANT if getattr(var.val, "shape", ()) or var.val else ZEROS
    # what no live result depends on was skipped (keys that a scan splits and never uses)
    return known.get(var, CONSTANT)


def _as_data(value: Value) -> Value:
    is_given = value.traits & GIVEN and not value.made_of
    return value._replace(data=True) if is_given else value
