"""Schemes for linear layers: the bytes of one matrix by each format's own arithmetic.

References:
    bitsandbytes/functional.py (quantize_4bit, quantize_blockwise; 2025): nf4, fp4, int8;
    Dettmers et al., QLoRA (2023), section 3: double quantisation.
    AutoGPTQ/AutoGPTQ auto_gptq/nn_modules/qlinear (2024): gptq; casper-hansen/AutoAWQ
    awq/modules/linear/gemm.py (2024): awq.
    deepseek-ai/DeepSeek-V3 inference/kernel.py (2024): fp8 in blocks of 128 x 128.
    OCP Microscaling Formats v1.0 (2023): mxfp4; NVIDIA's nvfp4, blocks of 16 (2025).
    pytorch/ao torchao/quantization (2024): int8wo, int4wo with inputs padded to 1,024.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from explorer.errors import InputError, first_few
from explorer.sizing.weights.groups import Matrix

__all__ = ["NAMES", "LinearScheme", "Options", "Sizes", "linear_scheme", "settled"]


class Options(NamedTuple):
    """What may follow a scheme's name.

    Attributes:
        group: inputs of one scale; 0 for all of a row; None for the scheme's own.
        bits: of a value; None for the scheme's own.
        double: whether scales are quantised too.
        act: whether the order of inputs is stored.
        scales: what a scale is for: "tensor", "channel" or "block"; None for the scheme's own.
        asym: whether integers have zero points.
        search: whether ranges are clipped to make the squared error smaller.
        e5m2: whether fp8 has five bits of exponent.
    """

    group: int | None = None
    bits: int | None = None
    double: bool = False
    act: bool = False
    scales: str | None = None
    asym: bool = False
    search: bool = False
    e5m2: bool = False


class Sizes(NamedTuple):
    """Bytes of one quantised matrix."""

    values: int
    scales: int


class LinearScheme(NamedTuple):
    """A scheme: the bytes that it gives a matrix, and what it leaves as it is.

    Attributes:
        name: what totals by type call it.
        sizes: the bytes of one matrix; None where the format leaves it as it is.
        heads: whether the head is quantised too.
        note: one line on the format.
    """

    name: str
    sizes: Callable[[Matrix], Sizes | None]
    note: str
    heads: bool = False


def _up(size: int, block: int) -> int:
    return -(-size // block)


def _divides(scheme: str, matrix: Matrix, inputs: int, outputs: int = 1) -> None:
    """Raise an InputError where a format has no way to store a matrix."""
    for what, size, block in (
        ("inputs", matrix.inputs, inputs),
        ("outputs", matrix.outputs, outputs),
    ):
        if size % block:
            raise InputError(
                "quantize",
                found=f"{scheme} stores {what} in groups of {block}, and a layer has {size:,}",
                expected="a group that divides them",
            )


def _four_bit(double: bool, block: int, matrix: Matrix) -> Sizes:
    blocks = _up(matrix.size, block)
    if not double:
        return Sizes(_up(matrix.size, 2), 4 * blocks)
    # 8-bit codes, one maximum for 256 of them, their table of 256 floats and their mean
    return Sizes(_up(matrix.size, 2), blocks + 4 * _up(blocks, 256) + 4 * 256 + 4)


def _wide(scales: str | None, asym: bool, matrix: Matrix) -> Sizes:
    number = 1 if scales == "tensor" else matrix.outputs
    return Sizes(matrix.size, (5 if asym else 4) * number)


def _grouped(bits: int, group: int, asym: bool, matrix: Matrix) -> Sizes:
    groups = _up(matrix.inputs, group or matrix.inputs)
    values = matrix.outputs * _up(matrix.inputs * bits, 8)
    return Sizes(values, (3 if asym else 2) * groups * matrix.outputs)


def _gptq(bits: int, group: int, act: bool, matrix: Matrix) -> Sizes:
    _divides("gptq", matrix, 32, 32)
    groups = _up(matrix.inputs, group or matrix.inputs)
    zeros = groups * matrix.outputs * bits // 8
    order = 4 * matrix.inputs if act else 0
    return Sizes(matrix.size * bits // 8, zeros + 2 * groups * matrix.outputs + order)


def _awq(bits: int, group: int, matrix: Matrix) -> Sizes:
    group = group or matrix.inputs
    _divides("awq", matrix, group, 32 // bits)
    groups = matrix.inputs // group
    zeros = groups * matrix.outputs * bits // 8
    return Sizes(matrix.size * bits // 8, zeros + 2 * groups * matrix.outputs)


def _fp8(scales: str | None, matrix: Matrix) -> Sizes:
    per = {
        None: 1,
        "tensor": 1,
        "channel": matrix.outputs,
        "block": _up(matrix.inputs, 128) * _up(matrix.outputs, 128),
    }
    return Sizes(matrix.size, 4 * per[scales])


def _mxfp4(matrix: Matrix) -> Sizes:
    _divides("mxfp4", matrix, 32)
    return Sizes(matrix.size // 2, matrix.size // 32)


def _nvfp4(matrix: Matrix) -> Sizes:
    _divides("nvfp4", matrix, 16)
    return Sizes(matrix.size // 2, matrix.size // 16 + 4)


def _int8wo(matrix: Matrix) -> Sizes:
    return Sizes(matrix.size, (2 + 8) * matrix.outputs)


def _int4wo(group: int, matrix: Matrix) -> Sizes | None:
    if matrix.inputs % group:
        return None  # torchao skips such layers
    padded = 1024 * _up(matrix.inputs, 1024)
    return Sizes(padded * matrix.outputs // 2, 4 * matrix.outputs * padded // group)


Build = Callable[[Options], tuple[Callable[[Matrix], Sizes | None], str]]


def _group(options: Options, own: int = 128) -> int:
    return own if options.group is None else options.group


def _per(group: int) -> str:
    return f"each {group} inputs of an output" if group else "each output"


def _build_4_bit(options: Options) -> tuple[Callable[[Matrix], Sizes], str]:
    scale = (
        "an 8-bit scale, 256 of which share a float32" if options.double else "a float32"
    )
    block = _group(options, 64)
    note = f"bitsandbytes: {scale} for {block} values"
    return lambda m: _four_bit(options.double, block, m), note


def _build_int8(options: Options) -> tuple[Callable[[Matrix], Sizes], str]:
    if options.group is not None:
        return _build_integers(8, options)
    what = "the tensor" if options.scales == "tensor" else "each output"
    zero = " and a zero point" if options.asym else ""
    sizes = partial(_wide, options.scales, options.asym)
    return sizes, f"LLM.int8: a float32 scale{zero} for {what}"


def _build_integers(bits: int, options: Options) -> tuple[Callable[[Matrix], Sizes], str]:
    group, zero = _group(options), " and a zero point" if options.asym else ""
    sizes = partial(_grouped, bits, group, options.asym)
    return sizes, f"a 16-bit scale{zero} for {_per(group)}"


def _build_gptq(options: Options) -> tuple[Callable[[Matrix], Sizes], str]:
    group, bits = _group(options), options.bits or 4
    order = " and the order of inputs (act-order)" if options.act else ""
    note = f"{bits} bits, a float16 scale and a zero point for {_per(group)}{order}"
    return lambda m: _gptq(bits, group, options.act, m), note


def _build_awq(options: Options) -> tuple[Callable[[Matrix], Sizes], str]:
    group, bits = _group(options), options.bits or 4
    note = f"{bits} bits, a float16 scale and a zero point for {_per(group)}"
    return lambda m: _awq(bits, group, m), note


_FP8 = {
    None: "tensor",
    "tensor": "tensor",
    "channel": "output",
    "block": "block of 128 x 128",
}


def _build_fp8(options: Options) -> tuple[Callable[[Matrix], Sizes], str]:
    note = f"a float32 scale for each {_FP8[options.scales]}"
    return lambda m: _fp8(options.scales, m), note


def _build_int4wo(options: Options) -> tuple[Callable[[Matrix], Sizes | None], str]:
    group = _group(options)
    note = f"torchao: bfloat16 scale and zero point for {group} inputs, padded to 1,024"
    return lambda m: _int4wo(group, m), note


_SCHEMES: dict[str, tuple[Build, frozenset[str]]] = {
    "nf4": (_build_4_bit, frozenset({"double", "group"})),
    "fp4": (_build_4_bit, frozenset({"double", "group"})),
    "int8": (_build_int8, frozenset({"group", "asym", "search", "scales"})),
    "int4": (
        lambda options: _build_integers(4, options),
        frozenset({"group", "asym", "search"}),
    ),
    "gptq": (_build_gptq, frozenset({"group", "bits", "act"})),
    "awq": (_build_awq, frozenset({"group", "bits"})),
    "fp8": (_build_fp8, frozenset({"scales", "e5m2"})),
    "mxfp4": (lambda _: (_mxfp4, "an 8-bit exponent for 32 inputs"), frozenset()),
    "nvfp4": (
        lambda _: (_nvfp4, "an fp8 scale for 16 inputs, a float32 for each tensor"),
        frozenset(),
    ),
    "int8wo": (
        lambda _: (_int8wo, "torchao: bfloat16 scale, int64 zero point an output"),
        frozenset(),
    ),
    "int4wo": (_build_int4wo, frozenset({"group"})),
}
NAMES = tuple(_SCHEMES)
_PLAIN = Options()
_WITH_HEAD = ("int8wo", "int4wo")


def linear_scheme(name: str, options: Options = _PLAIN) -> LinearScheme:
    """Return the scheme of that name.

    Raises:
        InputError: an option that the scheme does not have.

    >>> linear_scheme("fp8", Options(scales="block")).sizes(Matrix(1, 256, 128))
    Sizes(values=32768, scales=8)
    """
    sizes, note = _SCHEMES[name][0](settled(name, options))
    heads = name in _WITH_HEAD
    kept = "embedding, norms, routers" if heads else "embedding, head, norms, routers"
    return LinearScheme(name, sizes, f"{name}: {note}; {kept} and biases stay", heads)


def settled(name: str, options: Options) -> Options:
    """Return options that a scheme has, one spelling of what has two.

    Raises:
        InputError: an option that the scheme does not have.

    >>> settled("int4", Options(scales="channel")).group
    0
    """
    allowed = _SCHEMES[name][1]
    if "group" in allowed and options.scales == "channel":
        options = options._replace(group=0, scales=None)
    given = {f for f in Options._fields if getattr(options, f) != getattr(_PLAIN, f)}
    if name == "int8" and (
        options.scales == "block" or (options.scales and options.search)
    ):
        allowed -= {"scales"}
    if given - allowed:
        known = [f"{name}:{_WORDS.get(option, option)}" for option in sorted(allowed)]
        raise InputError(
            "quantize",
            found=f"{name} has no option for {first_few(sorted(given - allowed))}",
            expected=", ".join([name, *known]),
        )
    if name in ("nf4", "fp4") and options.group not in (None, *_BLOCKS):
        raise InputError(
            "quantize",
            found=f"{name} has blocks of 32, 64, 128 ... 4096, not of {options.group}",
            expected=f"{name}, {name}:g128",
        )
    return options


_BLOCKS = tuple(1 << n for n in range(5, 13))
_WORDS = {"group": "g64", "bits": "b8", "scales": "block"}
