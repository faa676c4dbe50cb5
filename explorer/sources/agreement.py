"""Does a checkpoint hold what its config.json promises? What would fail to load."""

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from explorer.card import Agreement
from explorer.tensors import PARAMS, Kind, TensorSpec

if TYPE_CHECKING:
    from explorer.models.architecture import Architecture
    from explorer.models.names import Stored

__all__ = ["agreement_of"]

# what packing puts where a plain tensor would have nothing, or "weight"
_PACKED = ("", "_blocks", "_packed", "_quantized")


def agreement_of(
    tensors: Iterable[TensorSpec], found: int, architecture: "Architecture"
) -> Agreement:
    """Return how a checkpoint's tensors fit an architecture.

    Buffers, optimizer state and multi-token-prediction layers are none of the
    architecture's; packed tensors are held to their logical shapes.

    Args:
        tensors: of the checkpoint, by the names of its file.
        found: parameters that it holds.
        architecture: what the config beside it describes.
    """
    from explorer.models.families import names_of
    from explorer.models.names import likely_bare, spare_tensors, stored_tensors

    kinds = {str(tensor.key): tensor.kind for tensor in tensors}
    names = names_of(architecture)
    bare = likely_bare(architecture, names, kinds)
    spare = spare_tensors(architecture, names, bare)
    stored = stored_tensors(architecture, names, bare, kinds)
    seen, unexpected, misshapen = set(), [], []
    for key, kind in kinds.items():
        name = _name_in(stored, key, kind)
        expected = stored.get(name) or spare.get(name)
        seen.add(name)
        if expected is None:
            if kind.collection == PARAMS:
                unexpected.append(f"{key} {list(kind.shape)}")
        elif not _fits(kind, expected.shape):
            misshapen.append(f"{key} {list(kind.shape)} for {list(expected.shape)}")
    return Agreement(
        class_name=architecture.class_name,
        tensors=len(stored),
        missing=tuple(f"{n} {list(s.shape)}" for n, s in stored.items() if n not in seen),
        unexpected=tuple(unexpected),
        misshapen=tuple(misshapen),
        parameters=_promised(architecture),
        found=found,
    )


def _promised(architecture: "Architecture") -> int:
    from explorer.models.declare import declare
    from explorer.sources.declared import is_parameter

    return sum(
        prod(leaf.shape) for leaf in declare(architecture) if is_parameter(leaf.path)
    )


def _name_in(stored: "dict[str, Stored]", key: str, kind: Kind) -> str:
    """Return the name that a tensor would have unpacked."""
    if kind.stored is None or kind.collection != PARAMS or key in stored:
        return key
    stem = key.rpartition(".")[0]
    plain = (key.removesuffix(ending) for ending in _PACKED)
    candidates = (*plain, f"{stem}.weight", stem)
    return next((name for name in candidates if name in stored), key)


def _fits(kind: Kind, shape: tuple[int, ...]) -> bool:
    if kind.stored is not None:  # packing may keep another order of axes
        return sorted(kind.shape) == sorted(shape) or kind.size == prod(shape)
    return kind.shape == shape
