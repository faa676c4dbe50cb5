"""Calibrated weights on the grids of integer schemes: what `ex.quantize` puts in a tree.

The codes of GPTQ are those of int4 and int8 in groups, with the scales that these schemes store,
so that trees and files hold them like any others.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_dtypes import bfloat16

from explorer.errors import InputError, TreeError, printable
from explorer.models.transformer import Transformer
from explorer.sizing.weights.parsing import parse_scheme
from explorer.transforms.calibration.folding import fold_scales
from explorer.transforms.calibration.gptq import GptqKernel, Grid
from explorer.transforms.calibration.quantising import gptq_model
from explorer.transforms.calibration.settings import Calibration
from explorer.transforms.quantisation.codecs import codec_of
from explorer.transforms.quantisation.integers import Integers, packed
from explorer.transforms.quantisation.quantized import Quantized
from explorer.tree.types import Params

__all__ = ["Calibrated", "calibrated"]


class Calibrated(NamedTuple):
    """What calibration made of a model.

    Attributes:
        params: the parameters that are quantised: those given, or with AWQ's scales folded in.
        kernels: those that are quantised already, by name; the others are rounded to nearest.
        note: one line.
    """

    params: Params
    kernels: Mapping[str, Quantized]
    note: str


def calibrated(
    model: Any, params: Params, scheme: str, calibration: Calibration
) -> Calibrated:
    """Return a model calibrated for a scheme.

    Args:
        model: one of explorer's own, with layers that are not scanned.
        params: its "params".
        scheme: int4 or int8 in groups, or int4:channel.
        calibration: the method and its tokens.

    Raises:
        InputError: another scheme or model, or groups that do not divide the inputs.
    """
    layout = _layout(scheme, calibration.method)
    if not isinstance(model, Transformer) or model.scan:
        raise InputError(
            "model",
            found=f"is {type(model).__name__}",
            expected="one of explorer's own with scan=False, as load_pretrained returns it",
        )
    if not isinstance(params, Mapping):
        raise TreeError(
            "params", found=f"is {type(params).__name__}", expected="a module's params"
        )
    bits, group = layout.bits, layout.group or None
    if calibration.method == "awq":
        folded = fold_scales(
            model, params, calibration.tokens, bits, group, symmetric=not layout.asymmetric
        )
        moved = [each for each in folded.scales.values() if each.power]
        note = (
            f"awq: inputs scaled at {len(moved):,} of {len(folded.scales):,} places, folded "
            "into the layers before; errors are those of the scaled weights"
        )
        return Calibrated(folded.params, {}, note)
    found = gptq_model(model, params, calibration.tokens, bits, group, grid=_grid(layout))
    kernels = {
        name: _quantised(kernel, layout, scheme, _at(params, name))
        for name, kernel in found.kernels.items()
    }
    note = f"gptq: {len(kernels):,} kernels calibrated; other matrices rounded to nearest"
    return Calibrated(params, kernels, note)


def _layout(scheme: Any, method: str) -> Integers:
    is_linear = isinstance(scheme, str) and not parse_scheme(scheme).gguf
    layout = codec_of(scheme).layout if is_linear else None
    if isinstance(layout, Integers) and not layout.wide:
        return layout
    what = printable(scheme, 40) if isinstance(scheme, str) else "a scheme for each tensor"
    raise InputError(
        "scheme",
        found=f"{what}, which {method} does not calibrate",
        expected="int4 or int8 in groups, such as int4:g128, int4:g64:asym or int8:g128",
    )


def _grid(layout: Integers) -> Grid:
    """Return the grid that a scheme gives a group: its scale in 16 bits, and its code of zero."""
    one = layout._replace(group=0)

    def grid(values: jax.Array, bits: int, symmetric: bool) -> tuple[jax.Array, jax.Array]:
        parts = one.encode(values)
        scale = one.steps(parts)[:, 0]
        half = 1 << bits - 1
        zero = jnp.full_like(scale, half)
        if "zero_points" in parts:
            zero = parts["zero_points"][:, 0].astype(jnp.float32) + half
        return jnp.where(scale > 0, scale, 1), zero  # a group of zeros

    return grid


def _quantised(kernel: GptqKernel, layout: Integers, scheme: str, before: Any) -> Quantized:
    half = 1 << layout.bits - 1
    values = (np.asarray(kernel.codes).astype(np.int16) - half).astype(np.int8)
    parts = {
        "values": values if layout.bits == 8 else packed(values),
        "scales": np.asarray(kernel.scales).astype(bfloat16),
    }
    if layout.asymmetric:
        zeros = np.asarray(kernel.zeros).astype(np.int16) - half
        parts["zero_points"] = zeros.astype(np.int8)
    if isinstance(before, jax.Array):
        parts = {name: jnp.asarray(part) for name, part in parts.items()}
    inputs, outputs = before.shape
    name = codec_of(scheme).scheme
    return Quantized(parts, name, (inputs, outputs), before.dtype.name, True)


def _at(params: Params, name: str) -> Any:
    node: Any = params
    for each in name.split("/"):
        node = node[each]
    return node
