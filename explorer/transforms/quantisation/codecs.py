"""The schemes by name: how rows of weights become parts, and parts rows again."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from explorer.errors import InputError
from explorer.sizing.weights.parsing import Wanted, parse_scheme, spelled
from explorer.sizing.weights.schemes import Options, settled
from explorer.transforms.quantisation.pieces import Array, Parts

__all__ = ["Codec", "codec_of"]


class Codec(NamedTuple):
    """A scheme for matrices [outputs, inputs].

    Attributes:
        scheme: its name with its options, as `parse_scheme` reads it.
        name: what totals by type call it.
        dtype: what inventories call the stored numbers: "int8", "nf4".
        rank: axes of the stored values: 2 for rows, 1 where the matrix is stored flat.
        encode: rows in float32 -> parts, "values" among them.
        decode: parts, outputs, inputs -> rows in float32.
        rule: what inventories say of the format.
        layout: the codec itself, whose class says how parts are laid out.
    """

    scheme: str
    name: str
    dtype: str
    rank: int
    encode: Callable[[Array], Parts]
    decode: Callable[[Parts, int, int], Array]
    rule: str
    layout: Any


@lru_cache(maxsize=128)
def codec_of(scheme: str) -> Codec:
    """Return the codec of a scheme.

    Raises:
        InputError: there is no such scheme, or it needs more than the weights.

    >>> codec_of("NF4").dtype, codec_of("int4:g64").scheme
    ('nf4', 'int4:g64')
    """
    wanted = parse_scheme(scheme)
    return _build(wanted, spelled(wanted))


def _build(wanted: Wanted, scheme: str) -> Codec:
    if wanted.gguf:
        from explorer.transforms.quantisation.ggml_blocks import GgmlBlocks, uniform_type

        codec: Any = GgmlBlocks(uniform_type(wanted))
    elif wanted.name in _CALIBRATED:
        raise InputError(
            "quantize",
            found=f"{wanted.name} is calibrated on activations",
            expected="a scheme of weights alone, such as int4:asym:search or nf4",
            cure=f"--to int4:g128 --by {wanted.name} --calibrate TEXT.txt calibrates",
        )
    else:
        codec = _linear(wanted.name, settled(wanted.name, wanted.options))
    name = codec.dtype if wanted.gguf else wanted.name
    return Codec(
        scheme, name, codec.dtype, codec.rank, codec.encode, codec.decode, codec.rule, codec
    )


def _linear(name: str, options: Options) -> Any:
    """Return the codec of a scheme for linear layers."""
    match name:
        case "nf4" | "fp4":
            from explorer.transforms.quantisation.four_bit import FourBit

            return FourBit(name, options.group or 64, options.double)
        case "int8" | "int4":
            from explorer.transforms.quantisation.integers import integers_of

            return integers_of(name, options)
        case "fp8":
            from explorer.transforms.quantisation.float8 import Float8

            return Float8(options.e5m2, options.scales or "tensor")
        case "mxfp4" | "nvfp4":
            from explorer.transforms.quantisation import microscaling

            return microscaling.MXFP4() if name == "mxfp4" else microscaling.NVFP4()
        case _:
            from explorer.transforms.quantisation import torchao_layouts as torchao

            if name == "int8wo":
                return torchao.Int8WeightOnly()
            return torchao.Int4WeightOnly(options.group or 128)


_CALIBRATED = ("gptq", "awq")
