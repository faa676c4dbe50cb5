"""What each tensor costs when it alone is quantised, and the mix that costs least in so many bytes."""

from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import pairwise
from typing import Any

import msgspec

from explorer.errors import InputError, check_type
from explorer.transforms.evaluation import Evaluator
from explorer.tree.types import Array, Params

__all__ = ["Mix", "Sensitivity", "TensorCost", "measure_sensitivity"]

# name, array -> the array as a scheme gives it back and the bytes that it stores; None where the
# scheme does not store that tensor
RoundTrip = Callable[[str, Array], tuple[Array, int] | None]


class TensorCost(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor in one scheme, all others as they were.

    Attributes:
        name: its path.
        scheme: the format; "" for as it was.
        parameters: its elements.
        bytes: stored.
        loss: the loss of the model, in nats a token.
        divergence: mean Kullback-Leibler divergence from the model as it was, in nats.
    """

    name: str
    scheme: str
    parameters: int
    bytes: int
    loss: float
    divergence: float


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """A scheme for each tensor.

    Attributes:
        schemes: by name; "" for as it was.
        bytes: stored by these tensors.
        divergence: the sum of the tensors' own: an estimate of that of the whole model, as if
            errors did not meet.
    """

    schemes: dict[str, str]
    bytes: int
    divergence: float


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """What quantising each tensor costs, the most expensive first.

    Attributes:
        target: of what.
        loss: of the model as it was, in nats a token.
        tokens: how many were predicted for each figure.
        costs: each tensor in each scheme.

    >>> def cost(name, scheme, size, divergence):
    ...     return TensorCost(name=name, scheme=scheme, parameters=8, bytes=size, loss=1.0, divergence=divergence)
    >>> found = Sensitivity(target="two", loss=1.0, tokens=9, costs=(
    ...     cost("a", "q8", 8, 0.1), cost("a", "q4", 4, 0.9), cost("b", "q8", 8, 0.0), cost("b", "q4", 4, 0.2)))
    >>> found.mix(12).schemes
    {'a': 'q8', 'b': 'q4'}
    """

    target: str
    loss: float
    tokens: int
    costs: tuple[TensorCost, ...]

    def __str__(self) -> str:
        # the view stands above this room: it is found by name when it is printed
        return import_module("explorer.views.sensitivity").sensitivity_text(self)

    def __repr__(self) -> str:
        names = dict.fromkeys(each.name for each in self.costs)
        return f"Sensitivity({self.target}: {len(names):,} tensors, loss {self.loss:.4f} on {self.tokens:,} tokens)"

    def mix(self, budget: int) -> Mix:
        """Return the schemes of least divergence whose tensors take at most so many bytes.

        Of each tensor only schemes are chosen that no mixture of two others beats; the best
        exchange of bytes for divergence is taken first (a greedy answer to a knapsack).

        Args:
            budget: bytes of all tensors of `costs` together.

        Raises:
            InputError: fewer bytes than the smallest schemes take.
        """
        check_type("budget", budget, int, "a number of bytes")
        by_name: dict[str, list[TensorCost]] = {}
        for cost in self.costs:
            by_name.setdefault(cost.name, []).append(cost)
        hulls = {name: _hull(costs) for name, costs in by_name.items()}
        chosen = {name: hull[0] for name, hull in hulls.items()}
        left = budget - sum(cost.bytes for cost in chosen.values())
        if left < 0:
            raise InputError(
                "budget",
                found=f"{budget:,} bytes",
                expected=f"{budget - left:,} or more, which the smallest schemes take",
            )
        steps = [
            (_gain(low, high), name, high)
            for name, hull in hulls.items()
            for low, high in pairwise(hull)
        ]
        full = set()  # a hull is climbed from its start: no later step without an earlier
        for _, name, high in sorted(steps, key=lambda step: (-step[0], step[1])):
            extra = high.bytes - chosen[name].bytes
            if name in full or extra > left:
                full.add(name)
                continue
            chosen[name], left = high, left - extra
        return Mix(
            schemes={name: cost.scheme for name, cost in chosen.items()},
            bytes=sum(cost.bytes for cost in chosen.values()),
            divergence=sum(cost.divergence for cost in chosen.values()),
        )


def _gain(low: TensorCost, high: TensorCost) -> float:
    """Return the divergence that each further byte saves."""
    return (low.divergence - high.divergence) / (high.bytes - low.bytes)


def _hull(costs: list[TensorCost]) -> list[TensorCost]:
    """Return the schemes on the lower convex hull of divergence over bytes, smallest first."""
    hull: list[TensorCost] = []
    for cost in sorted(costs, key=lambda each: (each.bytes, each.divergence)):
        if hull and (
            cost.divergence >= hull[-1].divergence or cost.bytes == hull[-1].bytes
        ):
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], cost):
            hull.pop()
        hull.append(cost)
    return hull


def measure_sensitivity(
    leaves: Mapping[str, Array],
    rebuilt: Callable[[Mapping[str, Array]], Params],
    schemes: Mapping[str, RoundTrip],
    evaluator: Evaluator,
    target: str,
) -> Sensitivity:
    """Return what quantising each of some tensors costs, one at a time.

    Args:
        leaves: the tensors to quantise, by name.
        rebuilt: returns the model's parameters with some of its tensors replaced.
        schemes: each a function that returns a tensor as the scheme gives it back, and its bytes.
        evaluator: on what it is measured.
        target: what the record calls the model.
    """
    before = rebuilt({})
    costs, whole = [], evaluator.loss(before)
    tokens = 0
    for name, leaf in leaves.items():
        same = (leaf, int(leaf.nbytes), whole, 0.0)
        costs.append(_cost(name, "", *same))
        for scheme, through in schemes.items():
            there_and_back = through(name, leaf)
            if there_and_back is None:
                continue
            changed, size = there_and_back
            found = evaluator.compare(before, rebuilt({name: changed}))
            tokens = found.tokens
            costs.append(
                _cost(name, scheme, leaf, size, found.loss_after, found.divergence)
            )
    worst: dict[str, float] = {}
    for cost in costs:
        worst[cost.name] = max(worst.get(cost.name, 0.0), cost.divergence)
    costs.sort(key=lambda cost: (-worst[cost.name], cost.name, cost.bytes))
    return Sensitivity(target=target, loss=whole, tokens=tokens, costs=tuple(costs))


def _cost(
    name: str, scheme: str, leaf: Any, size: int, loss: float, divergence: float
) -> TensorCost:
    return TensorCost(
        name=name,
        scheme=scheme,
        parameters=int(leaf.size),
        bytes=size,
        loss=loss,
        divergence=divergence,
    )
