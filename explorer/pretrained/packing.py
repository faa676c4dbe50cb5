"""Named arrays with packed weights -> the tensors of a model, each weight decoded at its turn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from explorer.errors import InputError, printable
from explorer.pretrained.arrays import FLOATS

if TYPE_CHECKING:
    import numpy as np

    from explorer.formats.pieces import Pieces

__all__ = ["packed_error", "packing_in", "unpacked", "without_packing"]

_KEYS = ("quantization_config", "quantization")


def packing_in(config: Mapping[str, Any]) -> Any:
    """Return how a config says that weights are packed; None where it does not."""
    text = config.get("text_config")
    holders = (config, text if isinstance(text, Mapping) else {})
    found = (holder.get(key) for key in _KEYS for holder in holders)
    return next((each for each in found if each), None)


def without_packing(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config of the same model whose weights are not packed.

    >>> without_packing({"model_type": "llama", "quantization_config": {"bits": 4}})
    {'model_type': 'llama'}
    """
    found = {key: value for key, value in config.items() if key not in _KEYS}
    if isinstance(text := found.get("text_config"), Mapping):
        found["text_config"] = {k: v for k, v in text.items() if k not in _KEYS}
    return found


def unpacked(
    config: Mapping[str, Any],
    arrays: "Mapping[str, np.ndarray]",
    place: str,
    config_place: str = "",
) -> "dict[str, np.ndarray | Pieces]":
    """Return tensors with packed weights as `Pieces` of float32, without their scales.

    Args:
        config: the content of a config.json.
        arrays: by name, as they are stored.
        place: what errors call the arrays.
        config_place: what errors call the config, if not the same.

    Raises:
        InputError: the config speaks of packed weights and none is of a known layout, or the
            parts of one do not fit together.
    """
    from explorer.formats.pieces import Pieces
    from explorer.packed.missing import check_companions
    from explorer.packed.reading import decoded, packed_tensors, turned

    packing = packing_in(config)
    keys = list(arrays)
    shapes = [arrays[key].shape for key in keys]
    kinds = [arrays[key].dtype.name for key in keys]
    found = packed_tensors(keys, shapes, kinds, packing)
    parts = {name for each in found for name in each.parts.values()}
    check_companions(keys, kinds, packing, place, set(keys) - parts)
    if packing and not found:
        method = packing.get("quant_method") if isinstance(packing, Mapping) else None
        raise packed_error(
            config_place or place, f"specifies {printable(method or 'packed', 40)} weights"
        )
    tensors = decoded(arrays, found, packing, place)
    # gpt-oss's experts are packed with outputs first, and its class has inputs first
    for each in found:
        pieces = tensors[each.name]
        if each.layer.kind == "blocks" and isinstance(pieces, Pieces):
            tensors[each.name] = turned(pieces)
    return tensors


def packed_error(place: str, found: str) -> InputError:
    """Return the error of packed weights that are not decoded."""
    return InputError(
        place,
        found=found,
        expected=f"weights in {', '.join(FLOATS)}, or packed in a known layout with all "
        "their scales beside them",
        cure="fetch all files again, or dequantise them with the library that quantised "
        "them, and save the result",
    )
