"""Named tensors with packed weights among them -> the same with weights, decoded when asked for."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from explorer.errors import FormatError, printable
from explorer.formats.pieces import Pieces
from explorer.identify.packing import unpacked_name
from explorer.identify.packing.companions import PackedLayer, packed_layers
from explorer.packed.decoding import decodes, shape_of, values_of_layer

__all__ = ["PackedTensor", "decoded", "finite", "misfit", "packed_tensors", "turned"]


class PackedTensor(NamedTuple):
    """A packed weight of a known layout among named tensors.

    Attributes:
        name: of the weight, once it is decoded.
        layer: how it is packed.
        parts: the names of the tensors that it is decoded from, by the layer's names for them.
    """

    name: str
    layer: PackedLayer
    parts: dict[str, str]

    def pieces(
        self, arrays: Mapping[str, np.ndarray], config: object, place: str
    ) -> Pieces:
        """Return the weight, decoded to float32 a piece at a time.

        Args:
            arrays: by name; those of the parts are used.
            config: the `quantization_config`, or MLX's `quantization`.
            place: what errors call the source.

        Raises:
            FormatError: the parts do not fit together.
        """
        there = {part: arrays[name] for part, name in self.parts.items()}
        try:
            _check_complete(there, config)
            shape = shape_of(self.layer, there)
            found = values_of_layer(self.layer, shape, there, config)
        except ValueError as error:
            raise misfit(place, self.name, str(error)) from None
        return finite(found.pieces(), place, self.name)


def packed_tensors(
    keys: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    config: object = None,
) -> list[PackedTensor]:
    """Return the packed weights whose layouts are known, in the order of their names.

    Args:
        keys, shapes, dtypes: of all tensors, as they are stored.
        config: the `quantization_config`, or MLX's `quantization`.

    >>> found = packed_tensors(["up.weight_packed", "up.weight_scale", "up.weight_shape"],
    ...                        [(8, 16), (8, 1), (2,)], ["int32", "float32", "int64"])
    >>> found[0].name, found[0].layer.scheme, list(found[0].parts)
    ('up.weight', 'compressed-tensors 4-bit', ['weight_packed', 'weight_scale', 'weight_shape'])
    """
    there = set(keys)
    found = []
    for layer in packed_layers(keys, shapes, dtypes, config):
        key = keys[layer.weight]
        name = unpacked_name(key)
        # a weight may be there beside what packs it
        if decodes(layer) and (name == key or name not in there):
            parts = {part: keys[index] for part, index in layer.parts.items()}
            found.append(PackedTensor(name, layer, parts))
    return sorted(found, key=lambda each: each.layer.weight)


def decoded(
    arrays: Mapping[str, np.ndarray],
    packed: Sequence[PackedTensor],
    config: object,
    place: str,
) -> dict[str, np.ndarray | Pieces]:
    """Return tensors with packed weights as `Pieces`, and without what they are decoded from.

    Raises:
        FormatError: the parts of one do not fit together.
    """
    found: dict[str, np.ndarray | Pieces] = dict(arrays)
    for each in packed:
        for name in each.parts.values():
            found.pop(name, None)
    return found | {each.name: each.pieces(arrays, config, place) for each in packed}


def finite(pieces: Pieces, place: str, name: str) -> Pieces:
    """Return pieces that refuse to decode to what is not finite.

    What scales multiply is finite in every layout but FP8; NaN there, or a scale that is not a
    number, would make a model of nothing but NaN.
    """
    decode: Callable[[int, int], np.ndarray] = pieces.decode
    columns = max(1, pieces.block)

    def checked(first: int, last: int) -> np.ndarray:
        found = decode(first, last)
        # one that is not finite makes the sum so; a sum that overflows is checked again
        with np.errstate(all="ignore"):
            is_finite = np.isfinite(found.sum(dtype=np.float64))
        if not is_finite and not (each := np.isfinite(found)).all():
            row = first + int(each.argmin()) // columns
            raise misfit(place, name, f"its row {row:,} is not finite")
        return found

    return pieces._replace(decode=checked)


def turned(pieces: Pieces) -> Pieces:
    """Return a tensor with its last two axes exchanged, decoded whole.

    >>> rows = Pieces((1, 3), np.dtype("float32"), 1, 3, lambda first, last: np.arange(3.0))
    >>> turned(rows).whole().tolist()
    [[0.0], [1.0], [2.0]]
    """
    *stack, first, second = pieces.shape

    def decode(_first: int, _last: int) -> np.ndarray:
        return pieces.whole().swapaxes(-1, -2).reshape(-1)

    shape = (*stack, second, first)
    return Pieces(shape, pieces.dtype, 1, prod(shape), decode)


def _check_complete(there: Mapping[str, np.ndarray], config: object) -> None:
    """Refuse layers that would decode without a part, to other numbers.

    Raises:
        ValueError: compressed-tensors' scale of the tensor is not there, or its zero points.
    """
    scale = there.get("weight_scale")
    if scale is None:
        return
    is_nv = "weight_packed" in there and scale.dtype.name == "float8_e4m3fn"
    if is_nv and "weight_global_scale" not in there:
        raise ValueError("weight_global_scale is not there")
    groups = config.get("config_groups") if isinstance(config, Mapping) else None
    weights = [
        each.get("weights") if isinstance(each, Mapping) else None
        for each in (groups.values() if isinstance(groups, Mapping) else ())
    ]
    is_asymmetric = bool(weights) and all(
        isinstance(each, Mapping) and each.get("symmetric") is False for each in weights
    )
    if is_asymmetric and "weight_zero_point" not in there:
        raise ValueError("weight_zero_point is not there")


def misfit(place: str, name: str, why: str) -> FormatError:
    """Return the error of a packed weight whose parts do not fit together."""
    return FormatError(
        place,
        found=f"{printable(name)} cannot be dequantised: {why}",
        expected="codes, and scales that fit them",
        cure="fetch or write the file again",
    )
