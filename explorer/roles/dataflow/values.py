"""What is known of each array of a program while parameters are followed through it.

A value is a constant, made of parameters alone, data, or made of parameters that data chose
(the weights of a routed expert). Sets of parameters are the bits of an int.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp

__all__ = [
    "CONSTANT",
    "GIVEN",
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
GIVEN = 2  # drawn at random or closed over: what a contraction takes for data
ZERO = 4  # zero everywhere
# traits of constants and data
ONE_HOT = 8  # index == iota: a contraction with it is a lookup
SPECTRUM = 16  # in frequencies: a product of two is a convolution
# traits of data
SCORES = 32  # data times data: the logits of attention
PEAK = 64  # their maximum, which a softmax takes away
ROUTED = 128  # data times parameters that data chose: the output of an expert
# traits of parameters
SLICED_FIRST = 256  # some rows of the first axis, taken by position
SLICED = 512  # some rows of another axis but the last
ROWS = 1024  # single rows (or numbers) that data chose from a table
MATRICES = 2048  # matrices that data chose from a stack
PICKED = ROWS | MATRICES


class Value(NamedTuple):
    """One array of the program.

    Attributes:
        made_of: the parameters that it is a function of, as long as they have not met
            data; of a function of data, none.
        data: whether it depends on the inputs.
        reach: the parameters that change it.
        grad: those of them that a gradient reaches from here.
        traits: bits, see above.
    """

    made_of: int = 0
    data: bool = False
    reach: int = 0
    grad: int = 0
    traits: int = 0

    @property
    def is_data(self) -> bool:
        """Whether it is data and no parameter."""
        return self.data and not self.made_of

    @property
    def is_picked(self) -> bool:
        """Whether it is made of parameters that data chose among others."""
        return self.made_of != 0 and self.traits & PICKED != 0


CONSTANT = Value()
ZEROS = Value(traits=ZERO)


def merged(values: Sequence[Value]) -> Value:
    """Return the value of a function of several: parameters followed, traits of any."""
    if len(values) == 1:
        return values[0]
    made_of = reach = grad = traits = 0
    data = False
    for value in values:
        made_of |= value[0]
        data = data or value[1]
        reach |= value[2]
        grad |= value[3]
        traits |= value[4]
    return Value(made_of, data, reach, grad, traits)


def join(a: Value, b: Value) -> Value:
    """Return what is known of a value that is one or the other (branches, steps)."""
    if a == b:
        return a
    both = merged((a, b))._replace(traits=a.traits & b.traits)
    # once it may be data it is followed no longer
    return both._replace(made_of=0) if a.is_data or b.is_data else both


def without_grad(value: Value) -> Value:
    """Return what no gradient passes."""
    return value._replace(grad=0)


def is_inexact(var: Any) -> bool:
    """Say whether a gradient can flow through values of a variable."""
    return _is_inexact(getattr(var.aval, "dtype", None))


@cache
def _is_inexact(dtype: Any) -> bool:
    return dtype is not None and jnp.issubdtype(dtype, jnp.inexact)
