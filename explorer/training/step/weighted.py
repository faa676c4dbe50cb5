"""Means over unequal parts: totals, and what they are divided by."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

__all__ = ["Weighted", "over_parts", "shared_weight", "summed_over_parts"]


class Weighted(struct.PyTreeNode):
    """A mean that is kept as a total and its weight, so that means of parts can be joined.

    A loss function returns one where its mean is not over the examples of a batch, such as
    over the tokens that are not padding. Micro-batches, devices and the batches of an
    evaluation then count by their weight, and the result is that of all at once.

    Args:
        total: a scalar sum.
        weight: what the mean divides it by: the number of tokens, or the sum of weights.

    >>> import numpy as np
    >>> errors, mask = np.array([1.0, 3.0, 8.0]), np.array([1, 1, 0])
    >>> loss = Weighted((errors * mask).sum(), mask.sum())
    >>> float(loss.mean)
    2.0
    """

    total: Any
    weight: Any

    @property
    def mean(self) -> Any:
        """The total divided by the weight; not a number where nothing has any."""
        return self.total if self.weight is None else self.total / self.weight

    @property
    def defined_mean(self) -> Any:
        """The mean, or 0 where nothing has weight, which has gradients too."""
        if self.weight is None:
            return self.total
        weight = lax.stop_gradient(self.weight)
        return self.total / jnp.where(weight == 0, 1, weight)


def shared_weight(value: jax.Array, weight: Any) -> Weighted:
    """Return a mean that is over what another one is over.

    Args:
        value: a scalar mean.
        weight: of the other; None for one that counts as any other does.
    """
    if weight is None:
        return Weighted(value, None)
    return Weighted(jnp.where(weight == 0, 0, value * weight), weight)


def over_parts(parts: Weighted) -> Weighted:
    """Return the mean of parts that are stacked along a first axis."""
    if parts.weight is None:
        return Weighted(parts.total.mean(0), None)
    return Weighted(parts.total.sum(0), parts.weight.sum(0))


def summed_over_parts(parts: Any) -> Any:
    """Return a tree of `Weighted` parts, stacked along a first axis, as means of all."""
    return jax.tree.map(over_parts, parts, is_leaf=lambda part: isinstance(part, Weighted))
