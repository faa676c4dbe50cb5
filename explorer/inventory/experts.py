"""Mixtures of experts by their structure: stacked kernels beside a router, whatever their names.

A router has one output for each expert, and the experts' kernels one matrix for each: arrays
[experts, d, f] and [experts, f, d] in the module that holds a kernel [d, experts]. Leading
axes of stacked layers are the same on all of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import prod

import msgspec

__all__ = ["Mixture", "find_experts"]

_MOST_TAPS = 8
_Path = tuple[str, ...]
_Tensor = tuple[_Path, tuple[int, ...]]


class Mixture(msgspec.Struct, frozen=True):
    """One mixture: how many experts, their kernels and their router."""

    number: int
    kernels: tuple[_Path, ...]
    router: _Path
    parameters: int


def find_experts(tensors: Iterable[_Tensor]) -> list[Mixture]:
    """Return the mixtures of experts among kernels, by paths and shapes.

    >>> found = find_experts([(("a",), (4, 8, 16)), (("b",), (4, 16, 8)), (("c",), (8, 4))])
    >>> found[0].number, found[0].router
    (4, ('c',))
    """
    by_scope: dict[_Path, list[_Tensor]] = defaultdict(list)
    matrices: list[_Tensor] = []
    for path, shape in tensors:
        if len(shape) > 1:
            matrices.append((path, shape))
        if len(shape) > 2:
            for depth in range(max(0, len(path) - 4), len(path)):
                by_scope[path[:depth]].append((path, shape))
    found = []
    for router, shape in matrices:
        # its own module, then those around it: `router/kernel` is beside `experts/up/kernel`
        for depth in range(len(router) - 1, max(-1, len(router) - 4), -1):
            mixture = _beside(router, shape, by_scope.get(router[:depth], ()))
            if mixture:
                found.append(mixture)
                break
    return found


def _beside(
    router: _Path, shape: tuple[int, ...], kernels: Sequence[_Tensor]
) -> Mixture | None:
    """Return the mixture of a router and the kernels around it; None if it routes nothing."""
    *layers, rows, columns = shape
    for width, number in ((rows, columns), (columns, rows)):
        if number < 2 or width <= number:
            continue
        stacked = [
            (path, sides)
            for path, sides in kernels
            if path != router and list(sides[:-2]) == [*layers, number]
        ]
        into = {path for path, sides in stacked if sides[-2] == width}
        out = {path for path, sides in stacked if sides[-1] == width}
        both = into | out
        # a few square matrices may as well be the taps of a convolution
        if into and out and (into != out or (len(both) > 1 and number >= _MOST_TAPS)):
            size = sum(prod(sides) for path, sides in stacked if path in both)
            return Mixture(number, tuple(sorted(both)), router, size)
    return None
