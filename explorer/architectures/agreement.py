"""Does a checkpoint hold what its config.json promises? What would fail to load."""

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from explorer.architectures.fitting import fit
from explorer.inventory.card import Agreement
from explorer.inventory.tensor import Kind, TensorSpec

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture

__all__ = ["agreement_of"]

# what schemes of packing call a tensor that would be a plain one
_PACKED = (("_blocks", ""), ("_packed", ""), ("_quantized", ""), (".qweight", ".weight"))


def agreement_of(
    tensors: Iterable[TensorSpec], found: int, architecture: "Architecture"
) -> Agreement:
    """Return how a checkpoint's tensors fit an architecture.

    Buffers that a model makes for itself and multi-token-prediction layers may be there;
    packed tensors are held to their logical shapes, their scales left aside.

    Args:
        tensors: of the checkpoint, by the names of its file.
        found: parameters that it holds.
        architecture: what the config beside it describes.
    """
    from explorer.architectures.declare import declare
    from explorer.architectures.families import names_of
    from explorer.architectures.listed import is_parameter

    kinds = {
        _plain_name(str(tensor.key), tensor.kind): tensor.kind
        for tensor in tensors
        if tensor.kind.collection != "quantization"
    }
    shapes = {name: kind.shape for name, kind in kinds.items()}
    fits = fit(architecture, names_of(architecture), shapes)
    promised = [leaf for leaf in declare(architecture) if is_parameter(leaf.path)]
    return Agreement(
        class_name=architecture.class_name,
        tensors=fits.declared,
        lacking=fits.lacking,
        missing=tuple(f"{name} {list(s)}" for name, s in fits.missing.items()),
        unexpected=tuple(
            f"{name} {list(shape)}" for name, shape in fits.unexpected.items()
        ),
        misshapen=tuple(
            f"{name} {list(shape)} for {list(wanted)}"
            for name, (shape, wanted) in fits.misshapen.items()
            if not _repacked(kinds[name], wanted)
        ),
        parameters=sum(prod(leaf.shape) for leaf in promised),
        found=found,
    )


def _plain_name(key: str, kind: Kind) -> str:
    """Return the name that a tensor would have unpacked."""
    if kind.stored is not None:
        for ending, plain in _PACKED:
            if key.endswith(ending):
                return key.removesuffix(ending) + plain
    return key


def _repacked(kind: Kind, shape: tuple[int, ...]) -> bool:
    """Say whether a tensor has a shape but for the order of axes, which packing may keep
    another way."""
    return kind.stored is not None and sorted(kind.shape) == sorted(shape)
