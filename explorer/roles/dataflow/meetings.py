"""What it means that a parameter meets data in an operation: the rules, one a case."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from explorer.inventory.tensor import Role
from explorer.roles.dataflow.contractions import CONTRACTIONS, is_contracted
from explorer.roles.dataflow.records import Manner
from explorer.roles.dataflow.values import (
    ONE_HOT,
    PEAK,
    ROUTED,
    ROWS,
    SCORES,
    SLICED,
    SLICED_FIRST,
    SPECTRUM,
    Value,
    merged,
)

__all__ = [
    "COMPOSED",
    "FOLLOW",
    "KERNEL",
    "LOOKUP",
    "OPAQUE",
    "PLACED",
    "RETURNED",
    "Meeting",
    "is_looked_up",
    "is_row",
    "meeting_of",
    "picked_sizes",
]


class Meeting(NamedTuple):
    """What an operation makes of a parameter that meets data in it."""

    role: Role
    manner: Manner


FOLLOW = None  # the parameter goes on: only which part of it is used depends on data
KERNEL = Meeting("kernel", "contracted")
SCALE = Meeting("scale", "multiplied")
BIAS = Meeting("bias", "added")
TABLE = Meeting("embedding", "added")
LOOKUP = Meeting("embedding", "looked up")
PLACED = Meeting("embedding", "placed")
OTHER = Meeting("other", "other")
OPAQUE = Meeting("other", "opaque")
COMPOSED = Meeting("other", "composed")
RETURNED = Meeting("other", "returned")

Rule = Callable[[Any, Sequence[Value], int], Meeting | None]


def meeting_of(eqn: Any, values: Sequence[Value], operand: int) -> Meeting | None:
    """Return what an operation makes of the parameter in an operand; None to follow it.

    At least one other operand is data. Parameters that data chose are an expert's where
    data is contracted with them, or where they act on what an expert put out; those that
    meet data in another way were looked up.
    """
    rule = _RULES.get(eqn.primitive.name)
    meeting = rule(eqn, values, operand) if rule else OTHER
    if meeting is FOLLOW or meeting is KERNEL or not values[operand].is_picked:
        return meeting
    return meeting if _any(values, operand, ROUTED) else LOOKUP


def is_looked_up(eqn: Any, values: Sequence[Value], operand: int) -> bool:
    """Say whether chosen rows are the stream itself, on which another parameter acts.

    Matrices that data chose may be added to one that it did not (an adapter's), rows that
    meet a parameter of the network are what flows through it.
    """
    value = values[operand]
    if not value.is_picked:
        return False
    meets = any(v.made_of and not v.data for v in values)
    return meets and bool(value.traits & ROWS or eqn.primitive.name in CONTRACTIONS)


def is_row(eqn: Any, operand: int = 0) -> bool:
    """Say whether what is picked at once is a row or a number, not a matrix."""
    return sum(size > 1 for size in picked_sizes(eqn, operand)) < 2


def picked_sizes(eqn: Any, operand: int = 0) -> Sequence[int]:
    """Return the shape of what is picked at once: the axes after the one that is indexed,
    as those before it are of a batch."""
    shape = eqn.invars[operand].aval.shape
    if eqn.primitive.name == "dot_general":
        contracted, batch = (axes[operand] for axes in eqn.params["dimension_numbers"])
        free = (axis for axis in range(len(shape)) if axis not in (*contracted, *batch))
        return [shape[axis] for axis in free if axis > min(contracted)]
    sizes = eqn.params["slice_sizes"]
    if eqn.primitive.name == "gather":
        indexed = eqn.params["dimension_numbers"].start_index_map
    else:
        indexed = [axis for axis, size in enumerate(sizes) if size < shape[axis]]
    return sizes[min(indexed, default=0) + 1 :]


def _contraction(eqn: Any, values: Sequence[Value], operand: int) -> Meeting | None:
    """Data times a matrix is a projection; a one-hot times a matrix a lookup."""
    if operand > 1:
        return OTHER
    if not is_contracted(eqn):
        return SCALE
    other = values[1 - operand]
    if other.traits & ONE_HOT and eqn.primitive.name == "dot_general":
        return _chosen(other, is_row(eqn, operand))
    return KERNEL


def _product(eqn: Any, values: Sequence[Value], operand: int) -> Meeting:
    """A gain; in frequencies, where both sides are spectra, a convolution."""
    return KERNEL if all(value.traits & SPECTRUM for value in values) else SCALE


def _sum(eqn: Any, values: Sequence[Value], operand: int) -> Meeting:
    """A bias; rows of a table that were taken by position are an embedding. A logit that
    meets the maximum of others is a sink, in a softmax that is written out."""
    if _any(values, operand, PEAK):
        return OTHER
    return TABLE if values[operand].traits & (SLICED | SLICED_FIRST) else BIAS


def _pick(eqn: Any, values: Sequence[Value], operand: int) -> Meeting | None:
    """A part of the parameter, where data says which."""
    return OTHER if operand else _chosen(merged(values[1:]), is_row(eqn))


def _chosen(index: Value, row: bool) -> Meeting | None:
    """Rows that the input chooses are looked up. What the network itself chooses, and
    matrices, may be an expert's: what they meet next will tell."""
    return LOOKUP if row and not index.reach else FOLLOW


def _place(eqn: Any, values: Sequence[Value], operand: int) -> Meeting:
    """A class token put beside the stream; beside the logits of attention, a sink."""
    return OTHER if _any(values, operand, SCORES) else PLACED


def _select(eqn: Any, values: Sequence[Value], operand: int) -> Meeting | None:
    """Put in where data says so; where a parameter or a constant is the other choice, it
    is a parameter under a mask."""
    if operand == 0:
        return OTHER
    return PLACED if any(value.is_data for value in values[1:]) else FOLLOW


def _solve(eqn: Any, values: Sequence[Value], operand: int) -> Meeting:
    """The inverse of a matrix times a vector."""
    return KERNEL


def _but(rule: Rule, positions: Callable[[int], bool]) -> Rule:
    """Return a rule of operations some of whose operands only say where."""

    def ruled(eqn: Any, values: Sequence[Value], operand: int) -> Meeting | None:
        return OTHER if positions(operand) else rule(eqn, values, operand)

    return ruled


def _second(operand: int) -> bool:
    return operand == 1


def _after_second(operand: int) -> bool:
    return operand > 1


def _any(values: Sequence[Value], operand: int, trait: int) -> bool:
    return any(v.traits & trait for i, v in enumerate(values) if i != operand)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(CONTRACTIONS, _contraction),
    **dict.fromkeys(("mul", "div"), _product),
    **dict.fromkeys(("add", "sub", "add_any"), _sum),
    **dict.fromkeys(("gather", "dynamic_slice"), _pick),
    **dict.fromkeys(("concatenate", "pad"), _place),
    **dict.fromkeys(("scatter-add", "scatter-sub"), _but(_sum, _second)),
    "scatter-mul": _but(_product, _second),
    "scatter": _but(_place, _second),
    "dynamic_update_slice": _but(_place, _after_second),
    "select_n": _select,
    "triangular_solve": _solve,
}
