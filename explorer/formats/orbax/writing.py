"""Orbax checkpoint folders written through orbax-checkpoint; all arrays are in memory at once."""

from collections.abc import Callable, Sequence
from typing import Any

from explorer.errors import MissingPackageError
from explorer.formats.flax_msgpack.writing import nested
from explorer.formats.writing import OutgoingTensor

__all__ = ["write"]


def write(
    folder: str,
    place: str,
    tensors: Sequence[OutgoingTensor],
    done: Callable[[int], object] | None = None,
) -> None:
    """Write a folder that does not exist yet; Orbax's `PyTreeCheckpointer` restores it.

    Args:
        folder: to write.
        place: what errors call it.
        tensors: nested by the names of their paths.
        done: called with the bytes of each tensor that was read.

    Raises:
        InputError: a path that runs through another tensor.
        MissingPackageError: orbax-checkpoint is not installed.
    """
    try:
        import orbax.checkpoint as orbax
    except ImportError:
        raise MissingPackageError(
            place,
            found="needs orbax-checkpoint",
            expected="it installed",
            cure="pip install orbax-checkpoint",
        ) from None
    tree = _arrays(place, nested(place, tensors), done)
    with orbax.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder, tree)


def _arrays(place: str, tree: Any, done: Callable[[int], object] | None) -> Any:
    if isinstance(tree, dict):
        return {name: _arrays(place, value, done) for name, value in tree.items()}
    import numpy as np

    from explorer.formats.ndarrays import numpy_dtype

    array = np.empty(tree.shape, numpy_dtype(place, tree.dtype))
    flat, start = array.reshape(-1), 0
    for part in tree.parts():
        flat[start : start + part.size] = part.reshape(-1)
        start += part.size
    if done is not None:
        done(array.nbytes)
    return array
