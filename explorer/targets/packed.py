"""The packed weights of a checkpoint, and what decodes them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from explorer.identify.packing.companions import PackedLayer, config_in, packed_layers
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import Kind
from explorer.paths import Key
from explorer.targets.records import Checkpoint

if TYPE_CHECKING:
    import numpy as np

    from explorer.packed.decoding import PackedValues

__all__ = ["PackedWeight", "packed_weights"]


class PackedWeight(NamedTuple):
    """A packed weight of a known layout.

    Attributes:
        layer: what it is.
        shape: of the weight, which the values of some parts may say.
        parts: keys of all tensors that it is decoded from, by the layer's names for them.
        config: `quantization_config`, where there is one.
    """

    layer: PackedLayer
    shape: tuple[int, ...]
    parts: dict[str, Key]
    config: object = None

    def values(self, arrays: "Mapping[Key, np.ndarray]") -> "PackedValues":
        """Return the weight that the arrays of its parts stand for.

        Raises:
            ValueError: they do not fit together.
        """
        from explorer.packed.decoding import values_of_layer

        there = {name: arrays[key] for name, key in self.parts.items() if key in arrays}
        return values_of_layer(self.layer, self.shape, there, self.config)


def packed_weights(
    target: Checkpoint, inventory: Inventory, wanted: Iterable[Key] | None = None
) -> dict[Key, PackedWeight]:
    """Return the packed weights of a checkpoint whose layouts are known, by their keys.

    Args:
        target, inventory: the checkpoint, and what is in it.
        wanted: keys of tensors; None for all.
    """
    columns = inventory.columns
    if not any(kind.collection == "quantization" for kind in columns.kinds):
        return {}
    from explorer.formats.files import load_path
    from explorer.packed.decoding import decodes, shape_of, shape_parts

    kinds = [columns.kind(index) for index in range(len(columns))]
    stored = [kind.stored or (kind.shape, kind.dtype) for kind in kinds]
    config = _config_of(target, inventory)
    layers = packed_layers(
        columns.keys, [each[0] for each in stored], [each[1] for each in stored], config
    )
    chosen = None if wanted is None else set(wanted)
    layers = [
        layer
        for layer in layers
        if (chosen is None or columns.keys[layer.weight] in chosen)
        and _is_as_counted(layer, kinds[layer.weight])
        and decodes(layer)
    ]
    needed = {
        columns.keys[layer.parts[name]] for layer in layers for name in shape_parts(layer)
    }
    small = load_path(target.path, needed.__contains__) if needed else {}
    found = {}
    for layer in layers:
        parts = {name: columns.keys[index] for name, index in layer.parts.items()}
        says = {name: small[parts[name]] for name in shape_parts(layer)}
        try:
            shape = shape_of(layer, says)
        except ValueError:  # it stays as it is stored
            continue
        found[columns.keys[layer.weight]] = PackedWeight(layer, shape, parts, config)
    return found


def _is_as_counted(layer: PackedLayer, kind: Kind) -> bool:
    """Return whether a layer is what the inventory took it for."""
    same = (layer.shape, layer.dtype) == (kind.shape, kind.dtype)
    return same and kind.is_parameter and kind.stored is not None


def _config_of(target: Checkpoint, inventory: Inventory) -> object:
    from explorer.identify.config import read_config

    config = read_config(target.folder)
    said = config.quantization if config else None
    return said or config_in(inventory.metadata or {})
