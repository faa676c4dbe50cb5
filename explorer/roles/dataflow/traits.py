"""The traits of an operation's result that the rules need."""

from collections.abc import Sequence
from typing import Any

from explorer.roles.dataflow.contractions import CONTRACTIONS, named
from explorer.roles.dataflow.rules import is_row
from explorer.roles.dataflow.values import (
    GIVEN,
    LEADING,
    MATRICES,
    ONE_HOT,
    PEAK,
    PICKED,
    ROUTED,
    ROWS,
    SCORES,
    SLICED,
    SLICED_FIRST,
    SPECTRUM,
    VARIED,
    ZERO,
    Value,
)

__all__ = ["NOISE", "is_zero", "traits_of"]

_LASTING = SLICED_FIRST | SLICED | PICKED | GIVEN | LEADING
_OF_CONTENTS = VARIED | SPECTRUM | SCORES | PEAK | ROUTED

# random results: they depend on a key, not on data
NOISE = named("""random_bits random_wrap random_unwrap random_seed random_fold_in random_split
    random_gamma threefry2x32 rng_bit_generator rng_uniform""")
# operations that keep the traits of a value, whatever they do to its shape or dtype
_SHAPES = named("""broadcast_in_dim reshape transpose squeeze expand_dims copy rev pad split
    convert_element_type reduce_precision stop_gradient slice dynamic_slice gather select_n
    concatenate stack unstack tile device_put sharding_constraint optimization_barrier pvary""")
_ELEMENTWISE = named("""add add_any sub mul div max min clamp neg abs sign exp exp2 expm1
    log log2 log1p tanh logistic erf integer_pow pow sqrt rsqrt square real imag conj complex
    polynomial one_minus_square""")
_PICKS = ("slice", "dynamic_slice", "gather")
_MAKERS = frozenset(("iota", "eq", "fft", *_PICKS, *CONTRACTIONS))
# zero if every operand is; if one operand is
_LINEAR = _SHAPES | frozenset(("add", "sub", "neg", "add_any", "reduce_sum", "cumsum"))
_BILINEAR = frozenset(("mul", *CONTRACTIONS))


def is_zero(eqn: Any, values: Sequence[Value]) -> bool:
    """Return whether a result is zero for any parameters and data."""
    name = eqn.primitive.name
    if name in _BILINEAR:
        return any(value.traits & ZERO for value in values[:2])
    return name in _LINEAR and all(v.traits & ZERO for v in _contents(name, values))


def traits_of(eqn: Any, values: Sequence[Value], out: Value) -> int:
    """Return the traits of a result.

    Args:
        eqn: the operation.
        values: its operands.
        out: what is known about the result, with the union of the operands' traits.
    """
    name, union = eqn.primitive.name, out.traits
    if not union and name not in _MAKERS:
        return 0
    kept = union & (_LASTING if out.made_of else GIVEN)
    if name in CONTRACTIONS:
        return kept | _of_contraction(eqn, values, out)
    if name in _PICKS and out.made_of:
        return kept & ~SLICED_FIRST | _of_pick(eqn, values, kept)
    if name in _SHAPES:
        contents = _contents(name, values)
        if all(value.traits & ONE_HOT for value in contents):
            kept |= ONE_HOT
        return kept | union & _OF_CONTENTS
    if name in _ELEMENTWISE:
        # scores minus their maximum are scores
        return kept | union & (_OF_CONTENTS & ~PEAK if union & SCORES else _OF_CONTENTS)
    if name == "iota":
        return VARIED
    if name == "eq":
        return kept | (ONE_HOT if _is_one_hot(values) else 0)
    if name == "fft":
        return kept | (0 if "I" in str(eqn.params["fft_type"].name) else SPECTRUM)
    return kept | (PEAK if name == "reduce_max" and union & SCORES else 0)


def _contents(name: str, values: Sequence[Value]) -> Sequence[Value]:
    """Return the operands whose elements are in the result, without those that select."""
    if name == "select_n":
        return values[1:]
    return values[:1] if name in ("dynamic_slice", "gather") else values


def _of_contraction(eqn: Any, values: Sequence[Value], out: Value) -> int:
    left, right = values[:2]
    if out.made_of:
        is_choice = (left.traits | right.traits) & ONE_HOT
        return _picked(eqn, int(right.made_of != 0)) if is_choice else 0
    if any(value.is_picked for value in values) or any(v.is_data for v in values[2:]):
        return ROUTED
    if left.is_data and right.is_data and not (left.traits | right.traits) & SCORES:
        return SCORES
    return 0


def _of_pick(eqn: Any, values: Sequence[Value], kept: int) -> int:
    """Return how a part of a parameter was selected: by data, or by position."""
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    if any(value.data for value in values[1:]):
        return _picked(eqn) | kept
    if eqn.primitive.name == "gather":
        return _of_indices(eqn, kept)
    # one row alone may be a layer of a stack, but not of a table stored as [1, n, d]
    least = 0 if kept & LEADING and sum(size > 1 for size in before) == 2 else 1
    cut = {axis for axis in range(len(before) - 1) if least < after[axis] < before[axis]}
    taken = SLICED if cut - {0} else 0
    if 0 in cut or (kept & SLICED_FIRST and after[0] > 1):
        taken |= SLICED_FIRST
    return taken


def _of_indices(eqn: Any, kept: int) -> int:
    """Return how constant indices select rows of a table."""
    table, index = eqn.invars[0].aval, eqn.invars[1].aval
    if len(index.shape) < 2:  # one number: a layer of a stack
        return 0
    if len(table.shape) < 2 and len(eqn.outvars[0].aval.shape) < 2:
        return kept & SLICED_FIRST  # a permutation
    return SLICED_FIRST if eqn.params["slice_sizes"][0] < table.shape[0] else SLICED


def _picked(eqn: Any, operand: int = 0) -> int:
    return ROWS if is_row(eqn, operand) else MATRICES


def _is_one_hot(values: Sequence[Value]) -> bool:
    """Return whether numbers are compared with a range, which gives rows with a single 1."""
    varied = [not value.data and bool(value.traits & VARIED) for value in values]
    return any(varied) and all(v or value.is_data for v, value in zip(varied, values))
