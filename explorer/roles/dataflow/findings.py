"""The uses of parameters and the work, recorded while a program is interpreted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

from explorer.roles.dataflow.contractions import macs_of, ragged_rows
from explorer.roles.dataflow.records import Use
from explorer.roles.dataflow.rules import (
    COMPOSED,
    KERNEL,
    LOOKUP,
    RETURNED,
    UseKind,
    picked_sizes,
)
from explorer.roles.dataflow.sources import source_of
from explorer.roles.dataflow.values import Value

__all__ = ["Findings"]


class Findings:
    """What was found so far.

    `uses` holds the uses of every parameter, by its number; `macs` are the multiply-adds of
    all contractions and `free_macs` those that belong to no parameter.
    """

    def __init__(self, sizes: Sequence[int]):
        self.uses: list[list[Use]] = [[] for _ in sizes]
        self.macs = 0
        self.free_macs = 0
        self._sizes = sizes
        self._times: int | None = 1
        self._quiet = False
        self._around: list[Any] = []
        self._picks: dict[int, tuple[Any, int]] = {}
        self._work: dict[int, int] = {}

    @contextmanager
    def inside(self, eqn: Any, times: int | None = 1) -> Iterator[None]:
        """Record inside the jaxpr of an operation that is executed `times` times."""
        before = self._times
        self._times = None if times is None or before is None else before * times
        self._around.append(eqn)
        yield
        self._around.pop()
        self._times = before

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Record nothing: the interpretation is a trial."""
        before, self._quiet = self._quiet, True
        yield
        self._quiet = before

    def picked(self, eqn: Any, operand: int, value: Value) -> None:
        """Remember where data selected a part of parameters, whose use is found later."""
        if eqn.primitive.name != "select_n":  # a mask selects no part
            for number in _bits(value.made_of):
                self._picks[number] = eqn, operand

    def use(self, eqn: Any, operand: int, value: Value, kind: UseKind) -> None:
        """Record a use of each parameter that an operand is made of."""
        if self._quiet:
            return
        rows = self._rows(eqn, operand, value) if kind is KERNEL else 0
        for number in _bits(value.made_of):
            at, place = eqn, operand
            if kind is LOOKUP and value.is_picked and number in self._picks:
                at, place = self._picks[number]
            macs = self._work.pop(number, 0)
            self.uses[number].append(self._use(kind, at, place, macs, rows))

    def returned(self, results: Sequence[Value]) -> None:
        """Record the parameters that are results, or of which results are functions."""
        for number, value in enumerate(results):
            for leaf in _bits(value.made_of):
                kind = LOOKUP if value.is_picked else RETURNED
                at, place = self._picks.get(leaf, (None, number))
                self.uses[leaf].append(self._use(kind, at, place))

    @contextmanager
    def contraction(self, eqn: Any, owners: int) -> Iterator[None]:
        """Attribute the work of a contraction to the parameters that take part, also to those
        that are only combined with other parameters and followed further."""
        if self._quiet:
            yield
            return
        macs = macs_of(eqn) * (1 if self._times is None else self._times)
        self.macs += macs
        self.free_macs += 0 if owners else macs
        self._work = self._shares(owners, macs)
        yield
        for number in list(self._work):
            self.use(eqn, 0, Value(1 << number), COMPOSED)

    def _shares(self, owners: int, macs: int) -> dict[int, int]:
        """Return the work by owner, in proportion to sizes; the remainder goes to the largest."""
        numbers = list(_bits(owners))
        if len(numbers) < 2:
            return dict.fromkeys(numbers, macs)
        total = sum(self._sizes[number] for number in numbers) or 1
        shares = {number: macs * self._sizes[number] // total for number in numbers}
        largest = max(numbers, key=self._sizes.__getitem__)
        shares[largest] += macs - sum(shares.values())
        return shares

    def _rows(self, eqn: Any, operand: int, value: Value) -> int:
        """Return how many rows of data are multiplied with one expert each."""
        if not value.is_picked:
            return ragged_rows(eqn)
        picks = [self._picks[n] for n in _bits(value.made_of) if n in self._picks]
        one = max((prod(picked_sizes(*pick)) for pick in picks), default=0)
        return prod(eqn.invars[operand].aval.shape) // one if one else 0

    def _use(
        self, kind: UseKind, eqn: Any, operand: int, macs: int = 0, rows: int = 0
    ) -> Use:
        return Use(
            role=kind.role,
            manner=kind.manner,
            primitive=eqn.primitive.name if eqn else "",
            operand=operand,
            times=self._times,
            macs=macs,
            source=self._source(eqn) if eqn else "",
            rows=rows,
        )

    def _source(self, eqn: Any) -> str:
        # a cached jaxpr has lost the line that calls it: those around it are asked
        return next(filter(None, map(source_of, (eqn, *reversed(self._around)))), "")


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
