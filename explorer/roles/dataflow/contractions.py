"""The multiply-adds of a contraction, from its shapes."""

from math import gcd, prod
from typing import Any

__all__ = ["CONTRACTIONS", "is_contracted", "macs_of", "named", "ragged_rows"]


def named(text: str) -> frozenset[str]:
    """Return the names of operations in a text."""
    return frozenset(text.split())


# the last two are those of explorer's own experts (explorer/models/grouped.py)
_RAGGED = ("ragged_dot", "ragged_dot_general", "rows_times_groups", "products_of_groups")
CONTRACTIONS = frozenset(("dot_general", "conv_general_dilated", *_RAGGED))


def macs_of(eqn: Any) -> int:
    """Return the multiply-adds of a contraction.

    Padding of a convolution counts, as in published figures; the zeros that a transposed
    convolution puts between its inputs do not. Each row of a ragged product is multiplied with
    one group: rows x inner x columns. A product that sums over no axis has none.
    """
    if eqn.primitive.name == "conv_general_dilated":
        return _macs_of_convolution(eqn)
    left = eqn.invars[0].aval.shape
    contracted = _contracted(eqn)
    if not contracted:
        return 0
    macs = prod(eqn.outvars[0].aval.shape) * prod(left[axis] for axis in contracted)
    # if the contracted axis itself is ragged, every group has its own output
    return macs // _groups(eqn) if set(_ragged_axes(eqn)) & set(contracted) else macs


def is_contracted(eqn: Any) -> bool:
    """Return whether a contraction sums over an axis: an einsum may be a plain product."""
    return eqn.primitive.name == "conv_general_dilated" or bool(_contracted(eqn))


def ragged_rows(eqn: Any) -> int:
    """Return how many rows of data a ragged contraction distributes over groups; 0 if the
    ragged axis is not that of the rows, or there is none."""
    if eqn.primitive.name not in _RAGGED:
        return 0
    ragged = _ragged_axes(eqn)
    if not ragged or ragged[0] in _contracted(eqn):
        return 0
    return eqn.invars[0].aval.shape[ragged[0]]


def _macs_of_convolution(eqn: Any) -> int:
    # the kernel's input axis is already divided by the groups of features
    kernel = eqn.invars[1].aval.shape
    numbers = eqn.params["dimension_numbers"]
    out = eqn.outvars[0].aval.shape
    _, inner, *spatial = numbers.rhs_spec
    batch, channel, *places = numbers.out_spec
    pairs = prod(
        _pairs(eqn, number, out[place], kernel[axis])
        for number, (place, axis) in enumerate(zip(places, spatial, strict=True))
    )
    return out[batch] * out[channel] * kernel[inner] * pairs


def _pairs(eqn: Any, axis: int, out: int, taps: int) -> int:
    """Return how many (output, tap) pairs of an axis read an input, not a dilation zero."""
    spread = eqn.params["lhs_dilation"][axis]
    if spread == 1:
        return out * taps
    sides = eqn.params["dimension_numbers"].lhs_spec[2:]
    last = (eqn.invars[0].aval.shape[sides[axis]] - 1) * spread
    stride = eqn.params["window_strides"][axis]
    step = eqn.params["rhs_dilation"][axis]
    low = eqn.params["padding"][axis][0]
    period = spread // gcd(spread, stride)
    pairs = 0
    for place in range(-low, taps * step - low, step):  # where a tap starts
        first = max(0, -(place // stride))
        end = min(out, (last - place) // stride + 1)
        hits = (
            o for o in range(first, first + period) if (o * stride + place) % spread == 0
        )
        pairs += sum(len(range(hit, end, period)) for hit in hits)
    return pairs


def _contracted(eqn: Any) -> tuple[int, ...]:
    if eqn.primitive.name == "dot_general":
        return eqn.params["dimension_numbers"][0][0]
    numbers = eqn.params.get("ragged_dot_dimension_numbers")
    return tuple(numbers.dot_dimension_numbers[0][0]) if numbers else (1,)


def _ragged_axes(eqn: Any) -> tuple[int, ...]:
    if eqn.primitive.name not in _RAGGED:
        return ()
    numbers = eqn.params.get("ragged_dot_dimension_numbers")
    return tuple(numbers.lhs_ragged_dimensions) if numbers else (0,)


def _groups(eqn: Any) -> int:
    return eqn.invars[2].aval.shape[-1]
