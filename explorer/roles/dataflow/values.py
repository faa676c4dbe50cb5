"""The lattice: what is known about each array of a program during interpretation.

A value is a constant, made of parameters alone, data, or made of parameters that data
selected (the weights of a routed expert). Sets of parameters are the bits of an int.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp

__all__ = [
    "CONSTANT",
    "GIVEN",
    "LEADING",
    "MATRICES",
    "ONE_HOT",
    "PEAK",
    "PICKED",
    "ROUTED",
    "ROWS",
    "SCORES",
    "SLICED",
    "SLICED_FIRST",
    "SPECTRUM",
    "VARIED",
    "ZERO",
    "ZEROS",
    "Value",
    "is_inexact",
    "join",
    "merged",
    "without_grad",
]

# traits of constants
VARIED = 1  # entries differ (iota)
GIVEN = 2  # random, or closed over: a contraction treats it as data
ZERO = 4  # zero everywhere
# traits of constants and data
ONE_HOT = 8  # index == iota: a contraction with it is a lookup
SPECTRUM = 16  # in the frequency domain: a product of two is a convolution
# traits of data
SCORES = 32  # data times data: the logits of attention
PEAK = 64  # their maximum, which a softmax subtracts
ROUTED = 128  # data times parameters that data selected: the output of an expert
# traits of parameters
SLICED_FIRST = 256  # some rows of the first axis, sliced by position
SLICED = 512  # some rows of another axis but the last
ROWS = 1024  # single rows (or numbers) that data selected from a table
MATRICES = 2048  # matrices that data selected from a stack
PICKED = ROWS | MATRICES
LEADING = 4096  # stored with an axis of one for the batch


class Value(NamedTuple):
    """One array of the program.

    Attributes:
        made_of: the parameters that it is a function of, until they are combined with
            data; a function of data has none.
        data: whether it depends on the inputs.
        reach: the parameters that it depends on.
        grad: those of them that a gradient from here reaches.
        traits: bits, see above.
        axes: bits of the axes along which parameters act on data, or vary themselves.
        copied: bits of the axes along which data is only repeated.
    """

    made_of: int = 0
    data: bool = False
    reach: int = 0
    grad: int = 0
    traits: int = 0
    axes: int = 0
    copied: int = 0

    @property
    def is_data(self) -> bool:
        """Whether it is data and not a parameter."""
        return self.data and not self.made_of

    @property
    def is_picked(self) -> bool:
        """Whether it is made of parameters that data selected among others."""
        return self.made_of != 0 and self.traits & PICKED != 0


CONSTANT = Value()
ZEROS = Value(traits=ZERO)


def merged(values: Sequence[Value]) -> Value:
    """Return the value of a function of several: the union of parameters and of traits."""
    if len(values) == 1:
        return values[0]
    made_of = reach = grad = traits = axes = copied = 0
    data = False
    for value in values:
        made_of |= value[0]
        data = data or value[1]
        reach |= value[2]
        grad |= value[3]
        traits |= value[4]
        axes |= value[5]
        copied |= value[6]
    return Value(made_of, data, reach, grad, traits, axes, copied)


def join(a: Value, b: Value) -> Value:
    """Return what is known about a value that is one or the other (branches, steps)."""
    if a == b:
        return a
    both = merged((a, b))._replace(traits=a.traits & b.traits)
    # a value that may be data is not followed further
    return both._replace(made_of=0) if a.is_data or b.is_data else both


def without_grad(value: Value) -> Value:
    """Return a value through which no gradient passes."""
    return value._replace(grad=0)


def is_inexact(var: Any) -> bool:
    """Return whether a gradient can pass through a variable."""
    return _is_inexact(getattr(var.aval, "dtype", None))


@cache
def _is_inexact(dtype: Any) -> bool:
    return dtype is not None and jnp.issubdtype(dtype, jnp.inexact)
