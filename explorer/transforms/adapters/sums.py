"""W + scale A B on the host, in the order of peft's merge."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from explorer.transforms.adapters.adapter import KernelPart

__all__ = ["column_norms", "merged_kernel", "merged_matrices"]


def merged_kernel(values: np.ndarray, part: "KernelPart", scale: float) -> np.ndarray:
    """Return a kernel with an adapter's part merged into it, in float32 or float64."""
    wide = (
        np.promote_types(np.float32, values.dtype)
        if values.dtype.kind == "f"
        else np.float32
    )
    arrays = (part.lora_a, part.lora_b, part.magnitude)
    a, b, norms = (None if x is None else np.asarray(x).astype(wide) for x in arrays)
    assert a is not None
    assert b is not None
    merged = merged_matrices(part.kernel.matrices(values).astype(wide), a, b, scale, norms)
    return part.kernel.array(merged)


def merged_matrices(
    matrices: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    scale: float,
    magnitude: np.ndarray | None,
) -> np.ndarray:
    """Return W + scale A B, for DoRA with columns of the given norms.

    Args:
        matrices: W, [batch, inputs, outputs].
        a, b: [batch, inputs, rank] and [batch, rank, outputs].
        scale: of the change.
        magnitude: [batch, outputs]; None for none.

    >>> one = np.ones((1, 1), "float32")
    >>> merged_matrices(3 * one, one, one, 0.5, None).item()
    3.5
    """
    # as peft multiplies: [outputs, rank] by [rank, inputs]; then scaled, then added
    change = np.swapaxes(np.swapaxes(b, -1, -2) @ np.swapaxes(a, -1, -2), -1, -2)
    change = change * change.dtype.type(scale)
    if not change.any():
        change = np.full_like(change, -0.0)  # the only number that changes no other's sign
    merged = matrices + change
    if magnitude is None:
        return merged
    return merged * (magnitude / column_norms(merged))[..., None, :]


def column_norms(matrices: np.ndarray) -> np.ndarray:
    """Return the norm of each output's weights, [batch, outputs].

    >>> column_norms(np.array([[3.0, 0.0], [4.0, 2.0]])).tolist()
    [5.0, 2.0]
    """
    return np.linalg.norm(matrices, axis=-2)
