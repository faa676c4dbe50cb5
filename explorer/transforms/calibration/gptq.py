"""GPTQ: kernels quantised input by input, the remaining weights corrected for each error.

References:
    Frantar et al., GPTQ (2023). Activation order: inputs with the largest sums of squares first.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from explorer.errors import InputError
from explorer.transforms.calibration.grids import dequantised, grid_of, quantised
from explorer.transforms.calibration.obs import inverse_factor

__all__ = ["GptqKernel", "Grid", "gptq"]

_BLOCK = 128

# weights [out, group], bits, symmetric -> scales and codes of zero, [out] each
Grid = Callable[[jax.Array, int, bool], tuple[jax.Array, jax.Array]]


class GptqKernel(NamedTuple):
    """A kernel as codes of groups of inputs.

    Attributes:
        codes: [out, in], from 0 to 2^bits - 1.
        scales: [out, groups].
        zeros: [out, groups], the code that stands for 0.
        groups: [in], the group of each input; in order unless `act_order` was on.
    """

    codes: jax.Array
    scales: jax.Array
    zeros: jax.Array
    groups: jax.Array

    @property
    def values(self) -> jax.Array:
        """What the codes stand for, [out, in] in float32."""
        scales, zeros = self.scales[:, self.groups], self.zeros[:, self.groups]
        return dequantised(self.codes, scales, zeros)


def gptq(
    weight: jax.Array,
    hessian: jax.Array,
    bits: int = 4,
    group: int | None = 128,
    act_order: bool = False,
    *,
    symmetric: bool = False,
    damp: float = 0.01,
    grid: Grid = grid_of,
) -> GptqKernel:
    """Return a kernel quantised so that its layer's outputs change little.

    Args:
        weight: [out, in].
        hessian: [in, in], sums of the products of inputs, X^T X; any multiple of it.
        bits: of a code, 2 to 8.
        group: inputs that share a scale; None for all of an output.
        act_order: whether inputs with the largest squares are quantised first; the inputs of a
            group are then not neighbours.
        symmetric: whether the code of 0 is always the middle one.
        damp: the share of the mean of the Hessian's diagonal that is added to it.
        grid: what gives a group its scale and its code of zero.

    Raises:
        InputError: shapes that do not fit, or groups that do not divide the inputs.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> weight, x = jnp.array(rng.normal(size=(4, 8))), jnp.array(rng.normal(size=(64, 8)))
    >>> found = gptq(weight, x.T @ x, group=4)
    >>> found.codes.shape, found.scales.shape, found.groups.tolist()
    ((4, 8), (4, 2), [0, 0, 0, 0, 1, 1, 1, 1])
    """
    inputs = weight.shape[-1]
    group = inputs if group is None else group
    _check(weight, hessian, bits, group)
    diagonal = jnp.diagonal(hessian)
    values = jnp.where(diagonal == 0, 0.0, jnp.asarray(weight, jnp.float32))
    order = jnp.arange(inputs)
    if act_order:
        order = jnp.argsort(-diagonal, stable=True)
        values, hessian = values[:, order], hessian[order][:, order]
    factor = inverse_factor(hessian, damp)
    block = min(group, _BLOCK)
    if inputs % block:  # one group, of a number of inputs that blocks do not divide
        block = inputs
    codes, scales, zeros = [], [], []
    for first in range(0, inputs, group):
        part = values[:, first : first + group]  # errors of the inputs before are in it
        scale, zero = grid(part, bits, symmetric)
        scales.append(scale)
        zeros.append(zero)
        for start in range(first, first + group, block):
            values, found = _block(values, factor, start, block, scale, zero, bits)
            codes.append(found)
    back = jnp.argsort(order)
    return GptqKernel(
        jnp.concatenate(codes, 1)[:, back],
        jnp.stack(scales, 1),
        jnp.stack(zeros, 1),
        (jnp.arange(inputs) // group)[back],
    )


@partial(jax.jit, static_argnames=("width", "bits"))
def _block(
    weight: jax.Array,
    factor: jax.Array,
    start: int,
    width: int,
    scale: jax.Array,
    zero: jax.Array,
    bits: int,
) -> tuple[jax.Array, jax.Array]:
    """Return the kernel with a block's errors passed on, and the codes of the block."""
    own = lax.dynamic_slice_in_dim(weight, start, width, 1)
    rows = lax.dynamic_slice_in_dim(factor, start, width, 0)
    inner = lax.dynamic_slice_in_dim(rows, start, width, 1)

    def step(i: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        own, errors, codes = state
        value = own[:, i]
        code = quantised(value, scale, zero, bits)
        error = (value - dequantised(code, scale, zero)) / inner[i, i]
        own = own - error[:, None] * inner[i]
        return own, errors.at[:, i].set(error), codes.at[:, i].set(code)

    state = (own, jnp.zeros_like(own), jnp.zeros(own.shape, jnp.uint8))
    _, errors, codes = lax.fori_loop(0, width, step, state)
    after = jnp.arange(weight.shape[1]) >= start + width
    return weight - errors @ jnp.where(after, rows, 0.0), codes


def _check(weight: jax.Array, hessian: jax.Array, bits: int, group: int) -> None:
    inputs = weight.shape[-1]
    if weight.ndim != 2 or hessian.shape != (inputs, inputs):
        raise InputError(
            "hessian",
            found=f"shape {list(hessian.shape)} for a weight of {list(weight.shape)}",
            expected=f"[{inputs}, {inputs}], products of the inputs of [out, in]",
        )
    if not 2 <= bits <= 8:
        raise InputError("bits", found=f"{bits}", expected="2 to 8")
    if group < 1 or inputs % group or (_BLOCK < group < inputs and group % _BLOCK):
        raise InputError(
            "group",
            found=f"{group:,} for {inputs:,} inputs",
            expected=f"a divisor of them, up to {_BLOCK} or a multiple of it; None for all",
        )
