"""An architecture -> its tensors, from its records alone: no module runs, JAX is not loaded."""

from math import prod
from typing import TYPE_CHECKING

from explorer.dtypes import find
from explorer.identify.state import CORRECTION
from explorer.inventory.card import Advertised, Card
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS, Tie
from explorer.paths import Key

if TYPE_CHECKING:
    from explorer.architectures.architecture import Architecture
    from explorer.architectures.declaration import DeclaredTensor

__all__ = ["card_of", "is_parameter", "read", "stacks_of"]


def read(architecture: "Architecture", scan: bool = False) -> Listing:
    """List the tensors of an architecture's Flax module, in the dtype of its weights.

    Args:
        architecture: the model.
        scan: whether identical layers are stacked.
    """
    from explorer.architectures.declaration import declare

    declared = declare(architecture, scan)
    dtype = find(architecture.dtype)
    return Listing(
        format=f"{architecture.family} architecture",
        keys=[tensor.path for tensor in declared],
        shapes=[tensor.shape for tensor in declared],
        dtypes=[architecture.dtype] * len(declared),
        nbytes=[dtype.nbytes(prod(tensor.shape)) for tensor in declared],
        # left open for buffers, which are identified by name
        collections=[PARAMS if is_parameter(t.path) else "" for t in declared],
        typed=True,
        ties=_ties(architecture),
        stacks=_stacks(declared),
    )


def stacks_of(architecture: "Architecture", scan: bool) -> dict[Key, tuple[int, ...]]:
    """Return how many layers and experts each stacked tensor stacks."""
    from explorer.architectures.declaration import declare

    return _stacks(declare(architecture, scan))


def _stacks(declared: "list[DeclaredTensor]") -> dict[Key, tuple[int, ...]]:
    return {
        tensor.path: stack
        for tensor in declared
        if (stack := tuple(n for n in (tensor.layers, tensor.experts) if n > 1))
    }


def is_parameter(path: tuple[str, ...]) -> bool:
    """Return whether training changes a tensor: all but the correction bias of routers."""
    return path[-1] != CORRECTION


def card_of(architecture: "Architecture", advertised: Advertised | None = None) -> Card:
    """Return what an architecture says beyond its tensors."""
    from explorer.architectures.families import checkpoint_names_of
    from explorer.architectures.stored_tensors import count_stored

    router = architecture.router
    return Card(
        family=architecture.family,
        class_name=architecture.class_name,
        tied=architecture.tied,
        experts=router.experts if router else 0,
        experts_per_token=router.per_token if router else 0,
        checkpoint_tensors=count_stored(architecture, checkpoint_names_of(architecture)),
        advertised=advertised,
    )


def _ties(architecture: "Architecture") -> list[Tie]:
    if not architecture.tied:
        return []
    masked = architecture.predictions is not None
    head = ("predictions", "decoder", "kernel") if masked else ("lm_head", "kernel")
    return [Tie((("embed", "embedding"), head), "the architecture ties them", shown=True)]
