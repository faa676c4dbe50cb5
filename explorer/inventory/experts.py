"""Mixtures of experts by their structure: stacked kernels beside a router, whatever their names.

A router has one output for each expert, and the experts' kernels one matrix for each: arrays
[experts, d, f] and [experts, f, d] in the module that holds a kernel [d, experts]. Leading
axes of stacked layers are the same on all of them.
"""

from collections import defaultdict
from collections.abc import Iterable
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
    kernels = _Kernels()
    matrices: list[_Tensor] = []
    for path, shape in tensors:
        if len(shape) > 1:
            matrices.append((path, shape))
        if len(shape) > 2:
            kernels.add(path, shape)
    found = []
    for router, shape in matrices:
        # its own module, then those around it: `router/kernel` is beside `experts/up/kernel`
        for depth in range(len(router) - 1, max(-1, len(router) - 4), -1):
            mixture = _beside(router, shape, kernels, router[:depth])
            if mixture:
                found.append(mixture)
                break
    return found


class _Kernels:
    """Kernels by the module they are in and the sizes they have, so that each is found at once."""

    def __init__(self) -> None:
        # module, leading axes as text, the axis before or at the end, and its size
        self._by_side: dict[tuple[_Path, str, int, int], dict[_Path, int]] = defaultdict(
            dict
        )
        self._joined: dict[tuple[_Path, str, int], tuple[tuple[_Path, ...], int, bool]] = {}

    def add(self, path: _Path, shape: tuple[int, ...]) -> None:
        leading, size = str(shape[:-2]), prod(shape)
        for depth in range(max(0, len(path) - 4), len(path)):
            for side in (-2, -1):
                self._by_side[path[:depth], leading, side, shape[side]][path] = size

    def joined(
        self, scope: _Path, leading: tuple[int, ...], width: int
    ) -> tuple[tuple[_Path, ...], int, bool]:
        """Return the kernels into and out of a width, their elements, and whether they differ.

        None are returned where one of the two is missing.
        """
        place = scope, str(leading), width
        if place not in self._joined:
            into = self._by_side.get((scope, place[1], -2, width), {})
            out = self._by_side.get((scope, place[1], -1, width), {})
            both = into | out if into and out else {}
            differ = into.keys() != out.keys()
            self._joined[place] = tuple(sorted(both)), sum(both.values()), differ
        return self._joined[place]


def _beside(
    router: _Path, shape: tuple[int, ...], kernels: _Kernels, scope: _Path
) -> Mixture | None:
    """Return the mixture of a router and the kernels around it; None if it routes nothing."""
    *layers, rows, columns = shape
    for width, number in ((rows, columns), (columns, rows)):
        if number < 2 or width <= number:
            continue
        both, size, differ = kernels.joined(scope, (*layers, number), width)
        # a few square matrices may as well be the taps of a convolution
        if both and (differ or (len(both) > 1 and number >= _MOST_TAPS)):
            return Mixture(number, both, router, size)
    return None
