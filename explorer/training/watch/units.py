"""Which axes of a tensor number its units: what is dead when all that belongs to it is 0.

Of an embedding they are its rows; of PyTorch's and Equinox's kernels (`weight`, [out, in]) the
first axis; of a projection to heads ([in, heads, head_dim]) both of its outputs; of any other
kernel, as JAX lays them out, the last axis.
"""

from explorer.roles.names import classify
from explorer.tree.walk import Path

__all__ = ["unit_axes"]

_INTO_HEADS = 3  # axes of a projection to heads
_PROJECTIONS = (
    "query", "key", "value", "q_proj", "k_proj", "v_proj", "to_q", "to_k", "to_v", "q", "k", "v",
)  # fmt: skip


def unit_axes(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return which axes of a tensor number its units; () of a vector or bias.

    Args:
        path: its names.
        shape: without the axes that stack equal tensors.

    >>> unit_axes(("embed", "embedding"), (100, 8)), unit_axes(("mlp", "kernel"), (8, 32))
    ((0,), (1,))
    >>> unit_axes(("attention", "query", "kernel"), (32, 4, 8))
    (1, 2)
    >>> unit_axes(("attention", "out", "kernel"), (4, 8, 32)), unit_axes(("up", "weight"), (32, 8))
    ((2,), (0,))
    """
    if len(shape) < 2:
        return ()
    role, _ = classify(path, shape)
    if path[-1] in ("bias", "scale"):  # [heads, head_dim] of a projection's
        return ()
    if role == "embedding" or path[-1] == "weight":
        return (0,)
    if len(shape) == _INTO_HEADS and len(path) > 1 and path[-2] in _PROJECTIONS:
        return (1, 2)
    return (len(shape) - 1,)
