"""Whether a checkpoint holds what its config.json describes, and what would fail to load."""

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from explorer.architectures.checkpoint_fit import fit_checkpoint
from explorer.identify.packing import unpacked_name
from explorer.inventory.card import Agreement
from explorer.inventory.tensor import Kind, TensorSpec

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture

__all__ = ["agreement_of"]


def agreement_of(
    tensors: Iterable[TensorSpec], found: int, architecture: "Architecture"
) -> Agreement:
    """Return how a checkpoint's tensors agree with an architecture.

    Buffers that a model recomputes and multi-token-prediction layers are allowed. Packed
    tensors are compared by their logical shapes; their scales are ignored.

    Args:
        tensors: those of the checkpoint, by the names in its file.
        found: the number of parameters that it holds.
        architecture: what the config beside it describes.
    """
    from explorer.architectures.declaration import declare
    from explorer.architectures.families import checkpoint_names_of
    from explorer.architectures.listing import is_parameter

    kinds = {
        _unpacked_name(str(tensor.key), tensor.kind): tensor.kind
        for tensor in tensors
        if tensor.kind.collection != "quantization"
    }
    shapes = {name: kind.shape for name, kind in kinds.items()}
    fit = fit_checkpoint(architecture, checkpoint_names_of(architecture), shapes)
    declared = [tensor for tensor in declare(architecture) if is_parameter(tensor.path)]
    return Agreement(
        class_name=architecture.class_name,
        tensors=fit.num_declared,
        lacking=fit.num_missing,
        missing=tuple(f"{name} {list(s)}" for name, s in fit.missing.items()),
        unexpected=tuple(f"{name} {list(s)}" for name, s in fit.unexpected.items()),
        misshapen=tuple(
            f"{name} {list(shape)} for {list(wanted)}"
            for name, (shape, wanted) in fit.mismatched.items()
            if not _fits_packed(kinds[name], wanted)
        ),
        parameters=sum(prod(tensor.shape) for tensor in declared),
        found=found,
    )


def _unpacked_name(key: str, kind: Kind) -> str:
    """Return the name that a tensor would have unpacked."""
    return unpacked_name(key) if kind.stored is not None else key


def _fits_packed(kind: Kind, shape: tuple[int, ...]) -> bool:
    """Return whether a packed tensor has a shape, up to what packing leaves unknown of it.

    The order of the axes; and all but the size, where the shape is (size, 1).
    """
    flat = kind.shape[1:] == (1,) and kind.size == prod(shape)
    return kind.stored is not None and (flat or sorted(kind.shape) == sorted(shape))
