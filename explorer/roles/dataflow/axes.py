"""Along which axes parameters act: what tells a table of positions from a bias.

A layer does the same to every token: its kernel makes the axes of features, and its bias varies
along those only. What varies along an axis that no parameter has made, and along which the data
itself varies, is another row for each position: a table, whatever the length of the batch.

Axes are the bits of an int, `EVERY` where an operation is not known: then nothing is decided.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from operator import and_, or_
from typing import Any

from explorer.roles.dataflow.contractions import named
from explorer.roles.dataflow.values import LEADING, SCORES, Value, merged

__all__ = ["EVERY", "axes_of", "features_of", "is_leading", "is_table", "wide"]

EVERY = -1

Masks = Sequence[int]
Rule = Callable[[Any, Masks], int]


def wide(shape: Sequence[int]) -> int:
    """Return the axes that are longer than one.

    >>> wide((1, 8, 4))
    6
    """
    return sum(1 << axis for axis, size in enumerate(shape) if size != 1)


def is_leading(shape: Sequence[int]) -> bool:
    """Return whether a parameter is stored with an axis of one for the batch: [1, n, d].

    >>> is_leading((1, 8, 4)), is_leading((8, 4)), is_leading((1, 4))
    (True, False, False)
    """
    return 1 in shape and wide(shape[shape.index(1) :]).bit_count() > 1


def is_table(eqn: Any, values: Sequence[Value], operand: int) -> bool:
    """Return whether a parameter that is added has a row for each position of the data.

    It varies along an axis that is the data's own, and along features that a parameter made;
    or, where the data is raw, it is stored with an axis of one for the batch. What is added to
    the scores of attention is a bias.
    """
    others = merged([v for i, v in enumerate(values) if i != operand and v.is_data])
    if others.traits & SCORES:
        return False
    value = values[operand]
    varied = value.axes & wide(eqn.outvars[0].aval.shape)
    positions = varied & ~(others.axes | _copied(eqn, values))
    if not positions:
        return False
    is_declared = value.traits & LEADING and positions.bit_count() > 1
    return bool(varied & others.axes or is_declared)


def features_of(eqn: Any, values: Sequence[Value], operand: int) -> int:
    """Return which axes of a table that is added or placed are features, not positions: those
    that parameters made already, or the last one."""
    others = merged([v for i, v in enumerate(values) if i != operand and v.is_data])
    varied = values[operand].axes & wide(eqn.outvars[0].aval.shape)
    return varied & others.axes or (1 << varied.bit_length() - 1 if varied else 0)


def axes_of(eqn: Any, values: Sequence[Value], union: Value) -> tuple[int, int]:
    """Return along which axes of a result parameters act, and along which data is repeated."""
    name = eqn.primitive.name
    if not (union.axes or union.copied) and name != "broadcast_in_dim":
        return 0, 0
    ranks = {len(var.aval.shape) for var in eqn.outvars if hasattr(var.aval, "shape")}
    if len(ranks) != 1:
        return EVERY, 0
    if union.made_of and not union.data and name in _ONLY_OF_DATA:
        return EVERY, 0
    rule = _RULES.get(name, _same_axes)
    axes = rule(eqn, [value.axes for value in values])
    if rule is _same_axes:
        return axes, _copied(eqn, values)
    copied = rule(eqn, [value.copied for value in values]) if union.copied else 0
    if name == "broadcast_in_dim" and union.is_data:
        copied |= _repeated(eqn)
    return axes, copied if copied != EVERY else 0


def _same_axes(eqn: Any, masks: Masks) -> int:
    """Operands have the axes of the result, or none: elementwise, a slice, a window."""
    rank, found = len(eqn.outvars[0].aval.shape), 0
    for var, mask in zip(eqn.invars, masks, strict=True):
        if mask and len(var.aval.shape) != rank:
            return EVERY
        found |= mask & ~_spread(eqn, var)
    return found


def _spread(eqn: Any, var: Any) -> int:
    """Return the axes of one in an operand that are longer in the result."""
    before, after = var.aval.shape, eqn.outvars[0].aval.shape
    return wide(after) & ~wide(before) if len(before) == len(after) else 0


def _copied(eqn: Any, values: Sequence[Value]) -> int:
    """Return the axes along which all data among operands of one rank is only repeated."""
    rank = len(eqn.outvars[0].aval.shape)
    found = [
        value.copied | _spread(eqn, var)
        for var, value in zip(eqn.invars, values, strict=True)
        if value.is_data and len(var.aval.shape) == rank
    ]
    return reduce(and_, found) if found else 0


def _broadcast(eqn: Any, masks: Masks) -> int:
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    to = eqn.params["broadcast_dimensions"]
    return _moved(
        masks[0], {axis: to[axis] for axis in range(len(to)) if before[axis] == after[to[axis]]}
    )  # fmt: skip


def _repeated(eqn: Any) -> int:
    """Return the axes along which a broadcast repeats its operand."""
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    to = eqn.params["broadcast_dimensions"]
    own = {to[axis] for axis in range(len(to)) if before[axis] == after[to[axis]]}
    return sum(1 << a for a, size in enumerate(after) if a not in own and size != 1)


def _moved(mask: int, to: dict[int, int]) -> int:
    """Return the axes of a mask at their new places."""
    return sum(1 << int(place) for axis, place in to.items() if mask >> axis & 1)


def _transpose(eqn: Any, masks: Masks) -> int:
    return _moved(masks[0], {a: i for i, a in enumerate(eqn.params["permutation"])})


def _without(axes: Sequence[int], rank: int, mask: int) -> int:
    kept = [axis for axis in range(rank) if axis not in axes]
    return _moved(mask, {axis: place for place, axis in enumerate(kept)})


def _squeeze(eqn: Any, masks: Masks) -> int:
    rank = len(eqn.invars[0].aval.shape)
    return _without([axis % rank for axis in eqn.params["dimensions"]], rank, masks[0])


def _reduced(eqn: Any, masks: Masks) -> int:
    return _without(eqn.params["axes"], len(eqn.invars[0].aval.shape), masks[0])


def _reshape(eqn: Any, masks: Masks) -> int:
    """Axes that are merged or split pass on what is known of any of them."""
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    if 0 in before or eqn.params.get("dimensions") is not None:
        return EVERY
    old = [axis for axis, size in enumerate(before) if size != 1]
    new = [axis for axis, size in enumerate(after) if size != 1]
    found = 0
    while old and new:
        left, right = [old.pop(0)], [new.pop(0)]
        while (here := prod(before[a] for a in left)) != (
            there := prod(after[a] for a in right)
        ):
            group, rest = (left, old) if here < there else (right, new)
            group.append(rest.pop(0))
        if any(masks[0] >> axis & 1 for axis in left):
            found |= sum(1 << axis for axis in right)
    return found


def _dot_general(eqn: Any, masks: Masks) -> int:
    contracted, batch = eqn.params["dimension_numbers"]
    places: list[int] = [
        masks[0] >> left & 1 | masks[1] >> right & 1
        for left, right in zip(*batch, strict=True)
    ]
    for side in (0, 1):
        taken = (*contracted[side], *batch[side])
        rank = len(eqn.invars[side].aval.shape)
        places += [masks[side] >> a & 1 for a in range(rank) if a not in taken]
    return sum(bit << place for place, bit in enumerate(places))


def _convolution(eqn: Any, masks: Masks) -> int:
    numbers = eqn.params["dimension_numbers"]
    batch, feature, *spatial = numbers.out_spec
    rows, _, *sides = numbers.lhs_spec
    to = {rows: batch, **dict(zip(sides, spatial, strict=True))}
    return _moved(masks[0], to) | (masks[1] >> numbers.rhs_spec[0] & 1) << feature


def _gather(eqn: Any, masks: Masks) -> int:
    """The rows of a table, or rows of data: what is selected keeps its axes."""
    numbers = eqn.params["dimension_numbers"]
    gone = {*numbers.collapsed_slice_dims, *getattr(numbers, "operand_batching_dims", ())}
    kept = [axis for axis in range(len(eqn.invars[0].aval.shape)) if axis not in gone]
    offsets = numbers.offset_dims
    found = _moved(masks[0], dict(zip(kept, offsets, strict=True)))
    rank = len(eqn.outvars[0].aval.shape)
    others = [axis for axis in range(rank) if axis not in offsets]
    return found | _moved(masks[1], dict(enumerate(others)))


def _scatter(eqn: Any, masks: Masks) -> int:
    numbers = eqn.params["dimension_numbers"]
    gone = {*numbers.inserted_window_dims, *getattr(numbers, "operand_batching_dims", ())}
    kept = [axis for axis in range(len(eqn.invars[0].aval.shape)) if axis not in gone]
    to = dict(zip(numbers.update_window_dims, kept, strict=True))
    return masks[0] | _moved(masks[2], to)


def _stack(eqn: Any, masks: Masks) -> int:
    """Operands along a new axis (before JAX 0.12 a concatenation)."""
    new, rank = eqn.params.get("axis", 0), len(eqn.outvars[0].aval.shape)
    kept = [axis for axis in range(rank) if axis != new % rank]
    union = reduce(or_, masks)
    return _moved(union, dict(enumerate(kept))) | (1 << new % rank if union else 0)


def _first(eqn: Any, masks: Masks) -> int:
    return masks[0]


# of parameters alone, these may make a result vary along any axis
_ONLY_OF_DATA = named("""dot_general conv_general_dilated gather scatter scatter-add ragged_dot
    ragged_dot_general rows_times_groups products_of_groups cumsum cumprod cumlogsumexp""")
_RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
    "gather": _gather,
    "stack": _stack,
    "dynamic_slice": _first,
    **dict.fromkeys(
        named("""reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or
        reduce_xor argmax argmin"""),
        _reduced,
    ),
    **dict.fromkeys(named("scatter scatter-add scatter-sub scatter-mul"), _scatter),
}
