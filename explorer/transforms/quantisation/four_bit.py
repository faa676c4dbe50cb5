"""nf4 and fp4 as bitsandbytes stores them: 16 codes, times the largest magnitude of a block.

A matrix is one row of blocks of 64; two codes share a byte, the first in its high half. With double
quantisation those maxima, less their mean, are 8-bit codes themselves, in blocks of 256.

References:
    Dettmers et al., QLoRA (2023), sections 3 and appendix E; Dettmers et al., 8-bit Optimizers
    via Block-wise Quantization (2022): the dynamic map.
    bitsandbytes 0.50: functional.py (get_4bit_type, create_dynamic_map), backends/default/ops.py.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from explorer.transforms.quantisation.pieces import (
    Array,
    Parts,
    flushed,
    in_pieces,
    product,
    space_of,
    to_host,
)

__all__ = ["CODES", "FourBit", "dynamic_map"]

CODES = {
    "nf4": (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
        0.7229568362236023, 1.0,
    ),
    # the sign is the highest bit; 12 is the largest
    "fp4": tuple(
        sign * code / 12 for sign in (1, -1) for code in (0, 0.0625, 8, 12, 4, 6, 2, 3)
    ),
}  # fmt: skip
_NESTED = 256  # maxima that share a scale
_SMALLEST = np.float32(1e-38)  # what a last block of zeros has as its largest magnitude


class FourBit(NamedTuple):
    """The codec of a kind: "nf4" or "fp4".

    Parts: values uint8 [bytes], scales float32 [blocks]; with `double` scales uint8 [blocks],
    nested_scales float32 [blocks / 256], table float32 [256] and offset float32 [1].
    """

    kind: str
    block: int
    double: bool

    rank = 1

    @property
    def dtype(self) -> str:
        """What inventories call the stored numbers."""
        return self.kind

    @property
    def rule(self) -> str:
        """What inventories say of the format."""
        scale = "8-bit" if self.double else "float32"
        return f"{self.kind.upper()} in blocks of {self.block} with {scale} scales"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        space, size = space_of(rows), rows.size
        flat = rows.reshape(-1)
        whole = size // self.block * self.block
        blocks = flat[:whole].reshape(-1, self.block)
        parts = in_pieces(_encoder(self.kind, False), blocks)
        values, scales = parts["values"].reshape(-1), parts["scales"]
        if whole < size:
            # the last block is divided by its maximum, and not multiplied by the reciprocal
            rest = flat[whole:]
            even = space.concatenate([rest, space.zeros(rest.size % 2, rest.dtype)])
            last = in_pieces(_encoder(self.kind, True), even[None])
            values = space.concatenate([values, last["values"][0]])
            scales = space.concatenate([scales, last["scales"]])
        if not self.double:
            return {"values": values, "scales": scales}
        return {"values": values, **nested(scales)}

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32."""
        values, scales = parts["values"], parts["scales"]
        space = space_of(values)
        if self.double:
            scales = unnested(parts)
        table = space.asarray(np.array(CODES[self.kind], np.float32))
        codes = space.stack([values >> 4, values & 15], -1).reshape(-1)[: outputs * inputs]
        found = table[codes]
        missing = -found.size % self.block
        padded = space.concatenate([found, space.zeros(missing, np.float32)])
        scaled = padded.reshape(-1, self.block) * scales[:, None]
        return flushed(scaled).reshape(-1)[: found.size].reshape(outputs, inputs)


@lru_cache(maxsize=16)
def _encoder(kind: str, divides: bool):
    codes = np.array(CODES[kind], np.float32)
    order = np.argsort(codes, kind="stable")
    middles = (codes[order[:-1]] + codes[order[1:]]) / np.float32(2)

    def encode(blocks: Array) -> Parts:
        space = space_of(blocks)
        blocks = flushed(blocks)
        scales = space.abs(blocks).max(-1)
        least = space.where(scales > 0, scales, np.float32(1))
        if divides:
            scaled = flushed(blocks / least[:, None])
            scales = space.where(scales > 0, scales, _SMALLEST)
        else:
            scaled = flushed(blocks * flushed(space.float32(1) / least)[:, None])
        rank = space.zeros(scaled.shape, np.uint8)
        for middle in middles:
            rank = rank + (scaled > middle).astype(np.uint8)
        if kind == "fp4":
            rank = space.asarray(order.astype(np.uint8))[rank]
        values = (rank[:, ::2] << 4) | rank[:, 1::2]
        return {"values": values, "scales": scales}

    return encode


@lru_cache(maxsize=1)
def dynamic_map() -> np.ndarray:
    """Return bitsandbytes' 256 codes: a sign, a decimal exponent of unary length, a fraction.

    >>> dynamic_map()[[0, 127, 255]].tolist()
    [-0.992968738079071, 0.0, 1.0]
    """
    codes = [0.0, 1.0]
    for exponent in range(7):
        edges = _edges(2**exponent + 1)
        means = (edges[:-1] + edges[1:]) / np.float32(2)
        scaled = np.float32(10.0 ** (exponent - 6)) * means
        codes += [*scaled.tolist(), *(-scaled).tolist()]
    return np.array(sorted(codes), np.float32)


def _edges(number: int) -> np.ndarray:
    """Return float32 numbers from 0.1 to 1, each half from its own end, as torch.linspace does."""
    first, last = np.float64(np.float32(0.1)), 1.0
    step = np.float64(np.float32(np.float32(last - first) / np.float32(number - 1)))
    index = np.arange(number)
    found = np.where(
        index < number // 2, first + step * index, last - step * (number - 1 - index)
    )
    return found.astype(np.float32)


def nested(scales: Array) -> Parts:
    """Return scales quantised to 8 bits, with what undoes it."""
    space = space_of(scales)
    if space is np:
        offset = np.float32(to_host(scales).mean(dtype=np.float64))
    else:
        offset = scales.mean()
    moved = scales - offset
    count = moved.size
    padded = space.concatenate([moved, space.zeros(-count % _NESTED, np.float32)])
    blocks = padded.reshape(-1, _NESTED)
    parts = in_pieces(_encode_nested, blocks)
    return {
        "scales": parts["codes"].reshape(-1)[:count],
        "nested_scales": parts["scales"],
        "table": space.asarray(dynamic_map()),
        "offset": space.reshape(offset, (1,)),
    }


def _encode_nested(blocks: Array) -> Parts:
    space = space_of(blocks)
    blocks = flushed(blocks)
    scales = space.abs(blocks).max(-1)
    inverse = flushed(space.float32(1) / space.where(scales > 0, scales, space.float32(1)))
    scaled = space.clip(flushed(blocks * inverse[:, None]), -1, 1)
    # its C code looks codes up in a table of 65,536 numbers from -1 to 1
    step = (scaled + space.float32(1)) * space.float32(0.5)
    index = (step * space.float32(65535) + space.float32(0.5)).astype(np.int32)
    codes = space.asarray(_nearest_codes())[index]
    return {
        "codes": space.where(scales[:, None] > 0, codes, 0).astype(np.uint8),
        "scales": scales,
    }


@lru_cache(maxsize=1)
def _nearest_codes() -> np.ndarray:
    table = dynamic_map()
    middles = (table[:-1] + table[1:]) / np.float32(2)
    grid = (np.arange(65536) * 2 / 65535 - 1).astype(np.float32)
    return np.searchsorted(middles, grid, side="left").astype(np.uint8)


def unnested(parts: Parts) -> Array:
    """Return the float32 scales of 8-bit ones."""
    codes, outer = parts["scales"], parts["nested_scales"]
    space = space_of(codes)
    count = codes.size
    known = parts["table"][codes]
    padded = space.concatenate([known, space.zeros(-count % _NESTED, np.float32)])
    inner = product(padded.reshape(-1, _NESTED), outer[:, None])
    return inner.reshape(-1)[:count] + parts["offset"]
