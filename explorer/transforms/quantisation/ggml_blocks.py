"""ggml's block types as schemes of trees: each output's inputs in blocks that hold their scales."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from explorer import dtypes
from explorer.errors import InputError
from explorer.sizing.weights.gguf_blocks import MIXES, TYPES
from explorer.sizing.weights.parsing import Wanted
from explorer.transforms.quantisation.ggml import decode, encode
from explorer.transforms.quantisation.pieces import Array, Parts, is_host

__all__ = ["GgmlBlocks", "uniform_type"]

_UNIFORM = ("Q8_0",)  # mixes that give every matrix one type


def uniform_type(wanted: Wanted) -> str:
    """Return the one type of all matrices under a scheme.

    Raises:
        InputError: it mixes types by layer.

    >>> uniform_type(Wanted("q4_k", True, pure=True)), uniform_type(Wanted("Q8_0", True))
    ('q4_k', 'q8_0')
    """
    if wanted.name in TYPES:
        return wanted.name
    kind = MIXES[wanted.name]
    if wanted.pure or wanted.name in _UNIFORM:
        return kind
    raise InputError(
        "quantize",
        found=f"{wanted.name} mixes types by the layers of a GGUF file",
        expected=f"{wanted.name}:pure, which gives every matrix {kind}",
        cure="`explorer quantize TARGET --to SCHEME -o OUT.gguf` writes the mix",
    )


class GgmlBlocks(NamedTuple):
    """The codec of a type of block.

    Parts: values uint8 [outputs, bytes].
    """

    kind: str

    rank = 2

    @property
    def dtype(self) -> str:
        """What inventories call the stored numbers."""
        return self.kind

    @property
    def rule(self) -> str:
        """What inventories say of the format."""
        return f"{self.kind.upper()} blocks of {dtypes.find(self.kind).block}"

    def encode(self, rows: Array) -> Parts:
        """Return the parts of rows in float32."""
        outputs, inputs = rows.shape
        if is_host(rows):
            return {"values": encode(np.ascontiguousarray(rows), self.kind)}
        shape = (outputs, dtypes.find(self.kind).nbytes(inputs))
        form = jax.ShapeDtypeStruct(shape, np.uint8)
        return {"values": self._on_host(lambda x: encode(x, self.kind), form, rows)}

    def decode(self, parts: Parts, outputs: int, inputs: int) -> Array:
        """Return the rows in float32; inside a compiled function only Q8_0 stays on the device."""
        values = parts["values"]
        if is_host(values):
            return decode(values, self.kind, inputs)
        if self.kind == "q8_0":
            return _decoded_q8_0(values, outputs, inputs)
        form = jax.ShapeDtypeStruct((outputs, inputs), np.float32)
        return self._on_host(lambda x: decode(x, self.kind, inputs), form, values)

    def _on_host(self, fn: object, form: jax.ShapeDtypeStruct, array: Array) -> Array:
        def run(given: Array) -> np.ndarray:
            return fn(np.asarray(given))  # pyright: ignore[reportCallIssue]

        return jax.pure_callback(run, form, array, vmap_method="sequential")


def _decoded_q8_0(values: Array, outputs: int, inputs: int) -> Array:
    """Return blocks of a float16 and 32 integers as rows."""
    blocks = values.reshape(outputs, inputs // 32, 34)
    scales = jax.lax.bitcast_convert_type(blocks[:, :, :2], jnp.float16)
    numbers = jax.lax.bitcast_convert_type(blocks[:, :, 2:], jnp.int8)
    found = numbers.astype(jnp.float32) * scales.astype(jnp.float32)[:, :, None]
    return found.reshape(outputs, inputs)
