"""Tensor types of llama.cpp's forks, whose sizes the number alone does not tell.

    bitnet.cpp      36 I2_S, 37 I8_S, 38 TL1, 39 TL2: numbers that llama.cpp has used for others;
                    the scale of the tensor follows its data
    ik_llama.cpp    134 to 399: some have a scale before each row
    Prism           142 PQ2_0, 143 PTQ1_0

The bytes between a tensor and the next decide which type it is, and whether rows have a scale.

References:
    bitnet.cpp's ggml_nbytes; ik_llama.cpp, gguf-py/gguf/constants.py and ggml's type traits.
"""

from collections.abc import Iterator
from math import prod

from explorer import dtypes

__all__ = ["AMBIGUOUS", "fitting", "is_fork_type"]

AMBIGUOUS = frozenset((36, 37, 38, 39))
_FIRST_FORK = 97  # the first of ik_llama.cpp's numbers; llama.cpp itself is at 42
_ROW_SCALES = (2, 4, 8)  # bytes of float16, float32 and two words
_TENSOR_SCALES = (0, 32)  # bitnet.cpp writes one float32, padded

# bitnet.cpp's names for the numbers
_BITNET = {36: "i2_s", 37: "i8_s", 38: "tl1", 39: "tl2"}


def is_fork_type(number: int) -> bool:
    """Return whether the bytes in the file decide the layout of a type."""
    return number in AMBIGUOUS or number >= _FIRST_FORK


def fitting(
    number: int, shape: tuple[int, ...], room: int, alignment: int
) -> tuple[dtypes.DType, int] | None:
    """Return the format and bytes of a tensor, by the room that it has in the file.

    Args:
        number: ggml's type number.
        shape: the shape, row-major.
        room: bytes up to the next tensor, or the end of the file.
        alignment: that of the file.

    Returns:
        None where no type of that number takes as many bytes.

    >>> i2_s = fitting(36, (256, 256), 256 * 256 // 4 + 32, 32)
    >>> i2_s[0].name, i2_s[1]
    ('i2_s', 16416)
    >>> fitting(39, (256, 256), 256 * 256 // 32 * 17, 32)[0].name
    'mxfp4'
    """
    for dtype, nbytes in _candidates(number, shape):
        if nbytes <= room and _padded(nbytes, alignment) >= _padded(room, alignment):
            return dtype, nbytes
    return None


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _candidates(number: int, shape: tuple[int, ...]) -> Iterator[tuple[dtypes.DType, int]]:
    size, row = prod(shape), shape[-1] if shape else 1
    plain = dtypes.find_ggml(number)
    if plain is not None and row % plain.block == 0:
        yield plain, plain.nbytes(size)
        rows = size // row if row else 0
        if number >= _FIRST_FORK:
            yield from ((plain, plain.nbytes(size) + rows * scale) for scale in _ROW_SCALES)
    if number in _BITNET:
        dtype = dtypes.find(_BITNET[number])
        for scale in _TENSOR_SCALES:
            yield dtype, _bitnet_nbytes(dtype.name, row, size) + scale


def _bitnet_nbytes(name: str, row: int, size: int) -> int:
    """Return the bytes of a tensor without its scale; TL2 has pairs in its last 256 columns."""
    if name != "tl2":
        return size if name == "i8_s" else size // 4
    rows = size // row
    return _padded((row - 256) * rows // 3 * 5 // 8 + 256 * rows // 2 * 4 // 8, 32)
