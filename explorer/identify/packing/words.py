"""Integers of a few bits packed in 32-bit words: GPTQ, AWQ, compressed-tensors, MLX.

Layouts were read in the libraries that write them: AutoGPTQ and GPTQModel
(`GPTQQuantLinear`), AutoAWQ (`WQLinear_GEMM`, `WQLinear_GEMV`), compressed-tensors
(`pack_quantized`), MLX (`nn.QuantizedLinear`, `mx.quantize`).
"""

from collections.abc import Iterable, Iterator, Sequence

from explorer.identify.packing.evidence import Claim, Option, Reading, Stored, choose

__all__ = ["gemv_padding", "read_awq", "read_compressed", "read_gptq", "read_mlx"]

_GPTQ_BITS = (4, 8, 3, 2, 5, 6)
_MLX_BITS = (4, 8, 2, 3, 6, 5)
_COMPRESSED_BITS = (4, 8, 3, 2, 6, 5, 7, 1)
_GROUPS = (128, 64, 32, 16, 256, 512)


_WORD = {"int8": 8, "int16": 16, "int32": 32, "uint32": 32, "int64": 64}


def _words(size: int, bits: int, word: int = 32) -> int:
    """Return the words that `size` values take."""
    return -(-size * bits // word)


def read_gptq(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read qweight [in*bits/32, out], scales [groups, out], and qzeros, g_idx if there.

    The shape is (out, in), the order that a PyTorch linear layer keeps its weight in. The
    words have 32 bits, or as many as GPTQModel's pack_dtype says.
    """
    word = _WORD.get(weight.dtype, 0)
    if not word or len(weight.shape) != 2 or len(scale.shape) != 2:
        return None
    (rows, out), (groups, columns) = weight.shape, scale.shape
    if out != columns or not rows or not groups:
        return None
    zeros, index = state.get("/qzeros"), state.get("/g_idx")
    if word != 32 and zeros is None and index is None:  # may be a number an element
        return None
    options = []
    for bits in _GPTQ_BITS:
        width = index.shape[0] if index and len(index.shape) == 1 else rows * word // bits
        group = -(-width // groups)
        if (
            _words(width, bits, word) == rows
            and -(-width // max(group, 1)) == groups
            and (zeros is None or zeros.shape == (groups, _words(out, bits, word)))
            and (index is None or index.shape == (width,))
        ):
            options.append(Option(bits, width, group))
    source = "g_idx" if index else "qzeros" if zeros else "scale groups"
    chosen = choose(options, claims, source)
    if chosen is None:
        return None
    option, how = chosen
    return Reading(
        (out, option.width),
        f"uint{option.bits}",
        f"GPTQ {option.bits}-bit, {how}",
        "GPTQ scales, zero points and group indices",
    )


def read_awq(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read qweight [in, out*bits/32], scales [groups, out], qzeros [groups, out*bits/32].

    Or the GEMV layout: qweight [out, in/8], scales and qzeros padded along [out, groups].
    """
    zeros = state.get("/qzeros")
    if weight.dtype != "int32" or zeros is None or zeros.dtype != "int32":
        return None
    if not len(weight.shape) == len(scale.shape) == len(zeros.shape) == 2:
        return None
    (rows, words), (groups, out) = weight.shape, scale.shape
    options = [
        Option(b, rows, rows // groups)
        for b in (4, 8, 2)
        if groups and words * 32 == out * b
    ]
    if zeros.shape == (groups, words) and groups and rows % groups == 0:
        chosen = choose(options, claims, "scales")
        if chosen:
            bits, how = chosen[0].bits, chosen[1]
            rule = f"AWQ {bits}-bit, {how}"
            return Reading((out, rows), f"uint{bits}", rule, "AWQ scales and zero points")
    padded = zeros.shape[1]
    widths = [gemv_padding(words * 8, group) for group in (128, 64, 32)]
    if scale.shape == (rows, padded * 8) and zeros.shape[0] == rows and padded in widths:
        rule = "AWQ 4-bit, GEMV layout"
        return Reading((rows, words * 8), "uint4", rule, "AWQ scales and zero points")
    return None


def gemv_padding(width: int, group: int) -> int:
    """Return AutoAWQ's calculate_zeros_width: kernels read 128 weights of input at a time."""
    step = 128 // group
    padded = -(-(width // group) // 8)
    return -(-padded // step) * step


def _grouped(
    words: int, groups: int, bits: Iterable[int], sizes: Sequence[int]
) -> Iterator[Option]:
    """Yield what rows of `words` words with `groups` scales can be."""
    for b in bits:
        most, rest = divmod(words * 32, b)
        for group in dict.fromkeys(size for size in sizes if size > 0):
            if _words(groups * group, b) == words:
                yield Option(b, groups * group, group)
            elif not rest and -(-most // group) == groups:  # the last group is not full
                yield Option(b, most, group)


def read_compressed(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read weight_packed [..., out, in*bits/32] and weight_scale [..., out, groups].

    weight_shape holds the answer as values, which a header does not have.
    """
    shape = weight.shape
    if weight.dtype != "int32" or len(shape) < 2 or "/weight_shape" not in state:
        return None
    if 0 in scale.shape:
        return None
    if scale.shape not in ((), (1,)) and (
        len(scale.shape) != len(shape) or scale.shape[:-1] != shape[:-1]
    ):
        return None
    words, groups = shape[-1], scale.shape[-1] if scale.shape else 1
    if groups > 1:
        sizes = (*(claim.group for claim in claims), *_GROUPS)
        options = list(_grouped(words, groups, _COMPRESSED_BITS, sizes))
    else:
        widths = [(bits, words * 32 // bits) for bits in _COMPRESSED_BITS]
        options = [Option(bits, width, 0) for bits, width in widths]
    source = "scale groups"
    zeros, index = state.get("/weight_zero_point"), state.get("/weight_g_idx")
    if zeros and zeros.dtype == "int32" and len(zeros.shape) == len(shape):
        source = "zero points"
        rows = zeros.shape[-2]
        options = [option for option in options if _words(shape[-2], option.bits) == rows]
    if index and len(index.shape) == 1:
        source = "g_idx"
        options = [option for option in options if option.width == index.shape[0]]
    chosen = choose(options, claims, source)
    if chosen is None:
        return None
    option, how = chosen
    return Reading(
        (*shape[:-1], option.width),
        f"int{option.bits}",
        f"compressed-tensors {option.bits}-bit, {how}",
        "compressed-tensors scales and zero points",
    )


def read_mlx(
    weight: Stored, scale: Stored, state: dict[str, Stored], claims: tuple[Claim, ...]
) -> Reading | None:
    """Read weight U32 [..., out, in*bits/32] with scales and biases [..., out, groups].

    The biases are a group's offset, quantization state, and never a layer's bias.
    """
    biases = state.get("/biases") or state.get("/qbiases")  # transformers' Metal kernels
    if weight.dtype != "uint32" or len(weight.shape) < 2 or biases is None:
        return None
    if biases.shape != scale.shape or scale.shape[:-1] != weight.shape[:-1]:
        return None
    words, groups = weight.shape[-1], scale.shape[-1]
    options = [
        option
        for option in _grouped(words, groups, _MLX_BITS, (64, 32, 128))
        if option.width == groups * option.group
    ]
    chosen = choose(options, claims, "scale groups")
    if chosen is None:
        return None
    (bits, width, group), how = chosen
    rule = f"MLX {bits}-bit in groups of {group}, {how}"
    shape = (*weight.shape[:-1], width)
    return Reading(shape, f"uint{bits}", rule, "MLX scales and biases of groups")
