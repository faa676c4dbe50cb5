"""A packed layer and its arrays -> its weight: in pieces, whole, or as codes and scales."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from explorer import dtypes
from explorer.errors import FormatError
from explorer.formats.pieces import Pieces
from explorer.identify.packing.companions import PackedLayer
from explorer.packed import floats, integers, tables
from explorer.packed.coded import Coded, Parts
from explorer.storage.pages import check_there

__all__ = ["PackedValues", "decodes", "shape_of", "shape_parts", "values_of_layer"]

_WORDS = {
    "gptq": integers.gptq,
    "awq": integers.awq,
    "compressed": integers.compressed,
    "mlx": integers.mlx,
    "modelopt": integers.modelopt,
    "bitnet": integers.bitnet,
}
_FLOATS = {
    "scaled": floats.scaled,
    "array": floats.scaled,
    "microscaled": floats.microscaled,
    "blocks": floats.blocks,
    "bitsandbytes_int8": floats.int8_rows,
}
_TABLES = ("bitsandbytes", "hqq")
_SHAPES = {"compressed": ("weight_shape",), "hqq": ("shape", "scale", "zero", "nbits")}
_MISFITS = (ValueError, IndexError, KeyError, TypeError, ArithmeticError, StopIteration)
# of one meaning whatever a scheme calls them
_USUAL = {
    "weight_scale_2": "scale_2",
    "weight_global_scale": "global_scale",
    "weight_zero_point": "zero_point",
    "zero_point/value": "zero_point",
}


class PackedValues(NamedTuple):
    """A packed weight that is decoded when it is asked for.

    Attributes:
        shape: of the decoded weight.
        coded: returns the codes and scales of the rows from one number up to another.
    """

    shape: tuple[int, ...]
    coded: Callable[[slice], Coded]

    def rows(self, first: int, last: int) -> np.ndarray:
        """Return rows as float32.

        Raises:
            FormatError: the tensors of the layer do not fit together there.
        """
        try:
            found = np.asarray(self.coded(slice(first, last)).decoded(), np.float32)
            return found.reshape(last - first, *self.shape[1:])
        except _MISFITS as error:
            raise FormatError(
                "a packed weight",
                found=f"its tensors do not fit together ({error})",
                cure="fetch or write the file again",
            ) from None

    def pieces(self) -> Pieces:
        """Return the weight as pieces of whole rows."""

        def decode(first: int, last: int) -> np.ndarray:
            return self.rows(first, last).reshape(-1)

        kind = np.dtype(np.float32)
        return Pieces(self.shape, kind, self.shape[0], prod(self.shape[1:]), decode)

    def check(self) -> None:
        """Decode the first and the last row.

        Raises:
            ValueError: the tensors of the layer do not fit together.
        """
        for row in {0, self.shape[0] - 1} if prod(self.shape) else ():
            try:
                self.rows(row, row + 1)
            except FormatError as error:  # whose place the caller knows
                raise ValueError(error.found) from None


def decodes(layer: PackedLayer) -> bool:
    """Return whether the layout of a layer is known here.

    >>> decodes(PackedLayer(0, "gptq", (8, 32), "uint4", {}, ("qweight", "scales")))
    True
    >>> decodes(PackedLayer(0, "exl3", (32, 32), "uint4", {}, ("trellis", "suh")))
    False
    """
    bits, parts = dtypes.find(layer.dtype).bits, layer.parts
    if layer.is_assumed and layer.kind != "compressed" and "nbits" not in parts:
        return False  # compressed-tensors' shape and HQQ's nbits say the bits
    match layer.kind:
        case "gptq":  # 5 and 6 bits are kept in planes
            return layer.names == ("qweight", "scales") and bits in (2, 3, 4, 8)
        case "awq":
            return bits == 4
        case "microscaled":  # of Hadamard transforms, or of scales in a kernel's order
            return bits != 6 and layer.names[0] not in ("qweight", "qdata")
        case "array":
            return "qrhs/bias" not in parts and "bias/0" not in parts
        case "scaled":
            return "sparse_metadata" not in parts
    return layer.kind in _WORDS or layer.kind in _FLOATS or layer.kind in _TABLES


def shape_parts(layer: PackedLayer) -> list[str]:
    """Return the parts that must be read to know the shape of the weight."""
    if layer.kind == "bitsandbytes":
        return [name for name in layer.parts if name.startswith("quant_state/")]
    return [name for name in _SHAPES.get(layer.kind, ()) if name in layer.parts]


def shape_of(layer: PackedLayer, parts: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Return the shape of the weight, where some parts say it; else what headers say.

    Raises:
        ValueError: the parts say another number of elements, or cannot be read.
    """
    found = layer.shape
    known = dict(parts)
    try:
        if layer.kind == "bitsandbytes":
            found = tables.bitsandbytes_shape(known)
        elif layer.kind == "hqq":
            found = tables.hqq_shape(known, int(dtypes.find(layer.dtype).bits))
        elif "weight_shape" in known:
            found = tuple(int(size) for size in known["weight_shape"].reshape(-1))
            found = (*layer.shape[: len(layer.shape) - len(found)], *found)
    except (KeyError, TypeError, IndexError, StopIteration, ArithmeticError) as error:
        raise ValueError(f"its shape cannot be read ({error})") from None
    if not found or min(found) < 0 or not _is_of_size(layer, found):
        raise ValueError(f"its parts say {list(found)}, its header {list(layer.shape)}")
    return found


def _is_of_size(layer: PackedLayer, shape: tuple[int, ...]) -> bool:
    """Return whether a shape has the elements that are stored, but for those that fill words."""
    if layer.kind == "compressed":
        return shape[:-1] == layer.shape[:-1] and (
            layer.is_assumed or 0 <= layer.shape[-1] - shape[-1] < 32
        )
    return 0 <= prod(layer.shape) - prod(shape) < 32


def values_of_layer(
    layer: PackedLayer,
    shape: tuple[int, ...],
    arrays: Mapping[str, np.ndarray],
    config: object = None,
) -> PackedValues:
    """Return the weight of a layer.

    Args:
        layer: one that `decodes` accepts.
        shape: as `shape_of` says.
        arrays: by the names of the layer's parts.
        config: `quantization_config` of config.json, or MLX's `quantization`.

    Raises:
        ValueError: the tensors of the layer do not fit together.

    >>> parts = {"weight": np.full((2, 4), 3, np.int8), "SCB": np.float32([127, 254])}
    >>> layer = PackedLayer(0, "bitsandbytes_int8", (2, 4), "int8", {}, ("weight", "SCB"))
    >>> values_of_layer(layer, (2, 4), parts).pieces().whole()[:, 0].tolist()
    [3.0, 6.0]
    """
    bits = _bits_of(layer, shape, arrays)
    settings = config if isinstance(config, dict) else {}
    parts: Parts = dict(arrays)
    if layer.kind in _WORDS:
        read = _WORDS[layer.kind]
        found = PackedValues(
            shape, lambda rows: read(parts, bits, rows, shape[-1], settings)
        )
    elif layer.kind == "hqq":
        found = PackedValues(shape, lambda rows: tables.hqq(parts, shape, rows, bits))
    elif layer.kind == "bitsandbytes":
        usual = {**parts, "weight": parts[layer.names[0]]}
        found = PackedValues(shape, lambda rows: tables.bitsandbytes(usual, shape, rows))
    else:
        usual = _usual(layer, parts)
        decode: Any = _FLOATS[layer.kind]
        found = PackedValues(shape, lambda rows: decode(usual, shape, rows))
    found = found._replace(coded=_there(found.coded, arrays))
    found.check()
    return found


def _there(
    coded: Callable[[slice], Coded], arrays: Mapping[str, np.ndarray]
) -> Callable[[slice], Coded]:
    """Return the rows of a weight, whose file is asked first whether it was cut."""

    def asked(rows: slice) -> Coded:
        for array in arrays.values():
            check_there(array)
        return coded(rows)

    return asked


def _bits_of(
    layer: PackedLayer, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]
) -> int:
    """Return the bits of a code; compressed-tensors' follow from the width of its words."""
    bits = int(dtypes.find(layer.dtype).bits)
    if layer.kind != "compressed" or not layer.is_assumed:
        return bits
    words = arrays["weight_packed"].shape[-1]
    fitting = [each for each in range(1, 9) if -(-shape[-1] * each // 32) == words]
    if bits in fitting:
        return bits
    if len(fitting) != 1:
        raise ValueError(f"its {shape[-1]} columns do not fit {words} words")
    return fitting[0]


def _usual(layer: PackedLayer, parts: Parts) -> Parts:
    """Return the arrays by what they mean."""
    found = {_USUAL.get(name, name): array for name, array in parts.items()}
    weight, scale = layer.names
    return {**found, "weight": parts[weight], "scale": parts[scale]}
