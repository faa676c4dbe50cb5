"""What an operation makes of a parameter that it combines with data: one rule a case."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from explorer.inventory.tensor import Role
from explorer.roles.dataflow.axes import is_table
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
    "TABLE",
    "UseKind",
    "is_looked_up",
    "is_row",
    "picked_sizes",
    "use_kind",
]


class UseKind(NamedTuple):
    """How an operation uses a parameter, and the role that this gives it."""

    role: Role
    manner: Manner


# the parameter is followed further: data selects only which part of it is used
FOLLOW = None
KERNEL = UseKind("kernel", "contracted")
SCALE = UseKind("scale", "multiplied")
BIAS = UseKind("bias", "added")
TABLE = UseKind("embedding", "added")
LOOKUP = UseKind("embedding", "looked up")
PLACED = UseKind("embedding", "placed")
OTHER = UseKind("other", "other")
OPAQUE = UseKind("other", "opaque")
COMPOSED = UseKind("other", "composed")
RETURNED = UseKind("other", "returned")

Rule = Callable[[Any, Sequence[Value], int], UseKind | None]


def use_kind(eqn: Any, values: Sequence[Value], operand: int) -> UseKind | None:
    """Return how an operation uses the parameter in an operand; None to follow it further.

    At least one other operand is data. Parameters that data selected belong to an expert if
    data is contracted with them, or if they act on the output of an expert; in any other
    combination with data they were looked up.
    """
    rule = _RULES.get(eqn.primitive.name)
    kind = rule(eqn, values, operand) if rule else OTHER
    if kind is FOLLOW or kind is KERNEL or not values[operand].is_picked:
        return kind
    return kind if _any(values, operand, ROUTED) else LOOKUP


def is_looked_up(eqn: Any, values: Sequence[Value], operand: int) -> bool:
    """Return whether selected rows are activations, on which another parameter acts.

    Matrices that data selected may be added to one that it did not (an adapter's); rows that
    are combined with a parameter of the network are its activations.
    """
    value = values[operand]
    if not value.is_picked:
        return False
    has_parameter = any(v.made_of and not v.data for v in values)
    return has_parameter and bool(value.traits & ROWS or eqn.primitive.name in CONTRACTIONS)


def is_row(eqn: Any, operand: int = 0) -> bool:
    """Return whether one index selects a row or a number, not a matrix."""
    return sum(size > 1 for size in picked_sizes(eqn, operand)) < 2


def picked_sizes(eqn: Any, operand: int = 0) -> Sequence[int]:
    """Return the shape of what one index selects: the axes after the indexed one, because
    those before it are batch axes."""
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


def _contraction(eqn: Any, values: Sequence[Value], operand: int) -> UseKind | None:
    """Data times a matrix is a projection; a one-hot vector times a matrix is a lookup."""
    if operand > 1:
        return OTHER
    if not is_contracted(eqn):
        return SCALE
    other = values[1 - operand]
    if other.traits & ONE_HOT and eqn.primitive.name == "dot_general":
        return _selected(other, is_row(eqn, operand))
    return KERNEL


def _product(eqn: Any, values: Sequence[Value], operand: int) -> UseKind:
    """A scale; if both operands are spectra, a convolution."""
    return KERNEL if all(value.traits & SPECTRUM for value in values) else SCALE


def _sum(eqn: Any, values: Sequence[Value], operand: int) -> UseKind:
    """A bias; a row for each position is an embedding."""
    kind = _sum_of_slices(eqn, values, operand)
    return TABLE if kind is BIAS and is_table(eqn, values, operand) else kind


def _sum_of_slices(eqn: Any, values: Sequence[Value], operand: int) -> UseKind:
    """A bias; rows of a table that were sliced by position are an embedding. A logit that is
    combined with the maximum of others is the sink of a softmax written by hand."""
    if _any(values, operand, PEAK):
        return OTHER
    return TABLE if values[operand].traits & (SLICED | SLICED_FIRST) else BIAS


def _polynomial(eqn: Any, values: Sequence[Value], operand: int) -> UseKind:
    """Horner's rule in one operation: x multiplies the sum so far, to which each coefficient
    is added."""
    return BIAS if operand else SCALE


def _pick(eqn: Any, values: Sequence[Value], operand: int) -> UseKind | None:
    """A part of the parameter, selected by data."""
    return OTHER if operand else _selected(merged(values[1:]), is_row(eqn))


def _selected(index: Value, row: bool) -> UseKind | None:
    """Rows that the input selects are looked up. Rows that the network selects, and matrices,
    may belong to an expert: their next use decides."""
    return LOOKUP if row and not index.reach else FOLLOW


def _place(eqn: Any, values: Sequence[Value], operand: int) -> UseKind:
    """A class token concatenated to activations; to the logits of attention, a sink."""
    return OTHER if _any(values, operand, SCORES) else PLACED


def _select(eqn: Any, values: Sequence[Value], operand: int) -> UseKind | None:
    """Selected by data against other data; against a parameter or a constant, the parameter is
    masked and followed further."""
    if operand == 0:
        return OTHER
    return PLACED if any(value.is_data for value in values[1:]) else FOLLOW


def _solve(eqn: Any, values: Sequence[Value], operand: int) -> UseKind:
    """The inverse of a matrix times a vector."""
    return KERNEL


def _except(rule: Rule, positions: Callable[[int], bool]) -> Rule:
    """Return a rule for operations some of whose operands are only positions."""

    def ruled(eqn: Any, values: Sequence[Value], operand: int) -> UseKind | None:
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
    **dict.fromkeys(("concatenate", "stack", "pad"), _place),
    **dict.fromkeys(("scatter-add", "scatter-sub"), _except(_sum_of_slices, _second)),
    "scatter-mul": _except(_product, _second),
    "scatter": _except(_place, _second),
    "dynamic_update_slice": _except(_place, _after_second),
    "polynomial": _polynomial,
    "select_n": _select,
    "triangular_solve": _solve,
}
