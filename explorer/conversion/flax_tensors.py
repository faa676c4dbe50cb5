"""A model's parameters under the names of explorer's own modules."""

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import declare
from explorer.architectures.stored_tensors import StoredTensor
from explorer.architectures.tensor_layout import KEEP
from explorer.conversion.models import ModelSource
from explorer.formats.writing import OutgoingTensor

__all__ = ["flax_outgoing"]


def flax_outgoing(
    model: ModelSource, architecture: Architecture, dtype: str | None
) -> list[OutgoingTensor]:
    """Return the parameters of explorer's module of an architecture, layers not stacked.

    Raises:
        InputError: the source lacks parameters.
    """
    stored = {
        "/".join(("params", *leaf.path)): StoredTensor(leaf.shape, (leaf.path,), KEEP)
        for leaf in declare(architecture)
    }
    model.check(stored)
    return [model.outgoing(name, tensor, dtype) for name, tensor in stored.items()]
