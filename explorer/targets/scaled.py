"""Weights stored as 8-bit integers with one scale beside them, whatever it is called."""

from typing import NamedTuple

from explorer import dtypes
from explorer.identify.packing import unpacked_name
from explorer.inventory.inventory import Inventory
from explorer.paths import Key, name_of, path_of

__all__ = ["ScaledWeight", "scaled_weights"]


class ScaledWeight(NamedTuple):
    """What integers stand for: the name of the weight, and the key of what they are times."""

    name: str
    scale: Key


def scaled_weights(inventory: Inventory) -> dict[Key, ScaledWeight]:
    """Return the 8-bit weights with a scale of their own beside them, and nothing else."""
    columns = inventory.columns
    kinds = {key: columns.kind(index) for index, key in enumerate(columns.keys)}
    beside: dict[tuple[str, ...], list[Key]] = {}
    for key, kind in kinds.items():
        if kind.collection == "quantization":
            beside.setdefault(path_of(key)[:-1], []).append(key)
    found = {}
    for key, kind in kinds.items():
        if not (kind.rule.startswith("INT8") and kind.stored and kind.is_parameter):
            continue
        shape, dtype, _ = kind.stored
        state = beside.get(path_of(key)[:-1], [])
        if shape != kind.shape or dtype != "int8" or len(state) != 1:
            continue
        scale = kinds[state[0]]
        if dtypes.find(scale.dtype).kind == "float" and _scales(scale.shape, shape):
            name = unpacked_name(key) if isinstance(key, str) else name_of(key)
            found[key] = ScaledWeight(name_of(name), state[0])
    return found


def _scales(scale: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Return whether an array of one shape can multiply one of another, axis by axis."""
    return len(scale) <= len(shape) and all(
        size in (1, whole) for size, whole in zip(reversed(scale), reversed(shape))
    )
