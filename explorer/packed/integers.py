"""Integers in 32-bit words or bytes: GPTQ, AWQ, compressed-tensors, MLX, ModelOpt, BitNet.

Each function returns some rows of a weight [out, in]. Formulas were read in the libraries that
write the layouts: AutoGPTQ and GPTQModel 7.7 (`dequantize_weight`), AutoAWQ 0.2.9
(`dequantize_gemm`, `WQLinear_GEMV`), compressed-tensors 0.20 (`unpack_from_int32`), MLX
(`mx.dequantize`), ModelOpt (`pack_int4_in_uint8`), transformers 5.24 (`unpack_weights`).
"""

from typing import Any

import numpy as np

from explorer.packed.coded import Coded, Parts, unpacked

__all__ = ["awq", "bitnet", "compressed", "gptq", "mlx", "modelopt"]

_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # where in a word each of eight weights is


def _floats(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def _range(bits: int, low: int = 0) -> np.ndarray:
    return np.arange(low, low + (1 << bits), dtype=np.float32)


def _grouped(
    codes: np.ndarray, scale: np.ndarray, zero: np.ndarray | float, bits: int, low: int = 0
) -> Coded:
    """Return codes [..., in] with a scale, and a zero, for each group: [..., groups]."""
    groups = scale.shape[-1]
    width = codes.shape[-1]
    if width % groups:  # the last group is not full
        index = np.arange(width) // -(-width // groups)
        return _indexed(codes, scale, zero, index, bits, low)
    if isinstance(zero, np.ndarray):
        zero = zero[..., None]
    numbers = codes.reshape(*codes.shape[:-1], groups, -1)
    return Coded(numbers, scale[..., None], _range(bits, low), zero)


def _indexed(
    codes: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | float,
    index: np.ndarray,
    bits: int,
    low: int = 0,
) -> Coded:
    """Return codes [..., in] of which an index [in] says the group of each."""
    if index.size and index.min() < 0:
        raise ValueError("a group index is below 0")
    if isinstance(zero, np.ndarray):
        zero = zero[..., index]
    return Coded(codes, scale[..., index], _range(bits, low), zero)


def _is_in_order(index: np.ndarray, groups: int) -> bool:
    width = len(index)
    return not width % groups and np.array_equal(
        index, np.arange(width) // (width // groups)
    )


def gptq(parts: Parts, bits: int, rows: slice, width: int, config: Any = None) -> Coded:
    """Return rows of qweight [in*bits/32, out] with scales [groups, out], qzeros and g_idx.

    The first version of the format keeps zero points less 1.
    """
    codes = unpacked(parts["qweight"][:, rows].T, bits, width)
    scale = _floats(parts["scales"][:, rows].T)
    groups, out = parts["scales"].shape
    zero: Any = float(1 << (bits - 1))
    if "qzeros" in parts:
        is_second = (config or {}).get("checkpoint_format") == "gptq_v2"
        zero = unpacked(parts["qzeros"], bits, out)[:, rows].T.astype(np.float32)
        zero += 0.0 if is_second else 1.0
    index = parts.get("g_idx")
    if index is None or _is_in_order(index, groups):
        return _grouped(codes, scale, zero, bits)
    return _indexed(codes, scale, zero, index, bits)


def awq(parts: Parts, bits: int, rows: slice, width: int, config: Any = None) -> Coded:
    """Return rows of qweight [in, out/8], scales [groups, out] and qzeros [groups, out/8].

    Or of the GEMV layout: qweight [out, in/8], scales and qzeros padded along [out, groups].
    """
    weight, scales, zeros = parts["qweight"], parts["scales"], parts["qzeros"]
    if weight.shape[0] == width and zeros.shape[0] == scales.shape[0]:
        words = slice(rows.start // 8, -(-rows.stop // 8))
        inside = slice(rows.start - 8 * words.start, rows.stop - 8 * words.start)
        codes = _reordered(weight[:, words])[inside]
        zero = _reordered(zeros[:, words])[inside]
        return _grouped(codes, _floats(scales[:, rows].T), _floats(zero), bits)
    codes = unpacked(weight[rows], bits, width)
    padded = zeros.shape[1]
    groups = next(
        count
        for group in (128, 64, 32)
        if (count := width // group) and padded == _gemv_padding(width, group)
    )
    zero = unpacked(zeros[rows], bits, groups)
    return _grouped(codes, _floats(scales[rows, :groups]), _floats(zero), bits)


def _gemv_padding(width: int, group: int) -> int:
    from explorer.identify.packing.words import gemv_padding

    return gemv_padding(width, group)


def _reordered(words: np.ndarray) -> np.ndarray:
    """Return the weights of AWQ's words [in, words] in order, a row for each output."""
    turned = np.ascontiguousarray(words.T)
    found = np.empty((len(turned), 8, len(words)), np.uint8)
    for at, place in enumerate(_AWQ_ORDER):
        found[:, at] = (turned >> (4 * place)) & 15
    return found.reshape(-1, len(words))


def compressed(
    parts: Parts, bits: int, rows: slice, width: int, config: Any = None
) -> Coded:
    """Return rows of weight_packed [..., out, in*bits/32] with weight_scale and zero points.

    Integers are kept with half their range added, zero points packed along `out`.
    """
    low = -(1 << (bits - 1))
    codes = unpacked(parts["weight_packed"][rows], bits, width).astype(np.int16) + low
    scale, zero = _floats(parts["weight_scale"]), parts.get("weight_zero_point")
    scale = scale.reshape([1] * codes.ndim) if scale.size == 1 else scale[rows]
    found: Any = 0.0
    if zero is not None and zero.dtype == np.int32 and zero.ndim == codes.ndim:
        out = parts["weight_packed"].shape[-2]
        axes = unpacked(np.swapaxes(zero, -1, -2), bits, out)
        found = np.swapaxes(axes, -1, -2)[rows].astype(np.float32) + low
    elif zero is not None:
        found = _floats(zero) if zero.size == 1 else _floats(zero[rows])
    index = parts.get("weight_g_idx")
    if index is not None and (index >= 0).all():
        return _indexed(codes, scale, found, index, bits, low)
    return _grouped(codes, scale, found, bits, low)


def mlx(parts: Parts, bits: int, rows: slice, width: int, config: Any = None) -> Coded:
    """Return rows of weight [..., out, in*bits/32]: codes * scales + biases, in groups."""
    codes = unpacked(parts["weight"][rows], bits, width)
    biases = parts["biases" if "biases" in parts else "qbiases"]
    found = _grouped(codes, _floats(parts["scales"][rows]), 0.0, bits)
    return found._replace(offset=_floats(biases[rows])[..., None])


def modelopt(parts: Parts, bits: int, rows: slice, width: int, config: Any = None) -> Coded:
    """Return rows of weight U8 [out/2, in], two rows in one, with weight_scale [out, groups]."""
    scale = _floats(parts["weight_scale"][rows])
    weight = parts["weight"]
    if weight.ndim > 2:  # rows are experts
        return _grouped(_signed(_two_rows(weight[rows]), 4), scale, 0.0, 4, -8)
    pairs = slice(rows.start // 2, -(-rows.stop // 2))
    both = _two_rows(weight[pairs])[rows.start - 2 * pairs.start :]
    return _grouped(_signed(both[: rows.stop - rows.start], 4), scale, 0.0, 4, -8)


def _two_rows(weight: np.ndarray) -> np.ndarray:
    both = np.stack((weight & 15, weight >> 4), -2)
    return both.reshape(*weight.shape[:-2], -1, weight.shape[-1])


def _signed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return two's complements of a few bits as int8."""
    half = 1 << (bits - 1)
    return ((codes.astype(np.int8) ^ half) - half).astype(np.int8)


def bitnet(parts: Parts, bits: int, rows: slice, width: int, config: Any = None) -> Coded:
    """Return rows of weight U8 [out/4, in]: ternary, a quarter of all rows in each two bits.

    Layers of transformers divide by weight_scale, those that their config calls
    "autobitlinear" multiply.
    """
    weight = parts["weight"]
    index = np.arange(rows.start, rows.stop)
    shift = (2 * (index // len(weight))).astype(np.uint8)
    codes = (weight[index % len(weight)] >> shift[:, None]) & 3
    scale = _floats(parts["weight_scale"]).reshape(1, 1)
    multiplies = (config or {}).get("linear_class") == "autobitlinear"
    values = np.arange(-1, 2, dtype=np.float32)
    return Coded(codes.astype(np.int8) - 1, scale if multiplies else 1 / scale, values)
