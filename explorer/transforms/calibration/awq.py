"""AWQ: inputs scaled before their weights are quantised, so that those that matter lose less.

Weights of an input are multiplied by its scale, the input divided by it: the layer computes the
same, but a large scale leaves a smaller error. Scales are powers of the inputs' mean magnitudes;
the power with the least error of the layers' outputs is taken.

References:
    Lin et al., AWQ: Activation-aware Weight Quantization (2024).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from explorer.errors import InputError
from explorer.transforms.calibration.grids import pseudo_quantised
from explorer.transforms.calibration.obs import hessian_error

__all__ = ["AwqScales", "awq_scales"]

_GRID = 20
_LEAST = 1e-4


class AwqScales(NamedTuple):
    """The scales of the inputs that some layers share.

    Attributes:
        scales: [in], by which weights are multiplied and inputs divided.
        power: of the mean magnitudes; 0 where no scaling is best.
        error: the squared error of the layers' outputs with these scales.
        plain: the same without scales.
    """

    scales: jax.Array
    power: float
    error: float
    plain: float


def awq_scales(
    weights: Sequence[jax.Array],
    hessian: jax.Array,
    magnitudes: jax.Array,
    bits: int = 4,
    group: int | None = 128,
    *,
    symmetric: bool = False,
    grid: int = _GRID,
) -> AwqScales:
    """Return the scales under which rounding the weights changes the outputs least.

    Args:
        weights: [out, in] of each layer that reads the same inputs.
        hessian: [in, in], sums of the products of inputs, X^T X; any multiple of it.
        magnitudes: [in], the mean magnitude of each input, or a multiple of it.
        bits, group, symmetric: of the codes, as of `gptq`.
        grid: how many powers are tried, from 0 (no scales) to just below 1.

    Raises:
        InputError: shapes that do not fit, or groups that do not divide the inputs.

    >>> weight = jnp.array([[1.0, 0.2, 0.6, 0.3]])
    >>> x = jnp.array([[1.0, 20.0, 1.0, 1.0]])
    >>> found = awq_scales([weight], x.T @ x, jnp.abs(x).mean(0), bits=2, group=4)
    >>> found.power > 0, found.error < found.plain
    (True, True)
    """
    inputs = hessian.shape[-1]
    size = inputs if group is None else group
    for weight in weights:
        if weight.ndim != 2 or weight.shape[1] != inputs:
            raise InputError(
                "weights",
                found=f"shape {list(weight.shape)} with a Hessian of {inputs:,} inputs",
                expected=f"[out, {inputs}]",
            )
    if size < 1 or inputs % size:
        raise InputError(
            "group", found=f"{size:,} for {inputs:,} inputs", expected="a divisor of them"
        )
    hessian = jnp.asarray(hessian, jnp.float32)
    magnitudes = jnp.asarray(magnitudes, jnp.float32)
    tried: list[tuple[float, float, jax.Array]] = []
    for step in range(grid):
        power = step / grid
        scales = _scales(magnitudes, power)
        error = sum(
            float(
                hessian_error(
                    weight,
                    pseudo_quantised(weight * scales, bits, group, symmetric) / scales,
                    hessian,
                )
            )
            for weight in weights
        )
        tried.append((error, power, scales))
    error, power, scales = min(tried, key=lambda each: each[0])
    return AwqScales(scales, power, error, tried[0][0])


@jax.jit
def _scales(magnitudes: jax.Array, power: float) -> jax.Array:
    """Return powers of magnitudes, centred so that the largest and the least are inverses."""
    scales = jnp.maximum(magnitudes**power, _LEAST)
    return scales / jnp.sqrt(scales.max() * scales.min())
