"""Parameters in two layouts: unrolled, one subtree per layer, or with layers stacked."""

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import layer_name
from explorer.errors import TreeError
from explorer.tree.types import Array, Params

__all__ = ["stack_layers"]


def stack_layers(
    params: Mapping[str, Params], architecture: Architecture
) -> dict[str, Params]:
    """Return unrolled parameters with identical layers stacked, as `scan=True` has them.

    Args:
        params: "params" of a `Transformer`, of NumPy or JAX arrays; not modified.
        architecture: the model.

    Raises:
        TreeError: a layer is missing.
    """
    names = {layer_name(index) for index in range(architecture.num_layers)}
    stacked: dict[str, Params] = {k: v for k, v in params.items() if k not in names}
    for stage, block, layers in _stacked_blocks(architecture):
        same = [_child(params, layer_name(layer)) for layer in layers]
        stacked.setdefault(stage, {})[block] = jax.tree.map(_stack, *same)
    return stacked


def _stacked_blocks(architecture: Architecture) -> Iterator[tuple[str, str, range]]:
    """Yield each stacked block's stage and name, and the layers that it stacks."""
    start = 0
    for number, stage in enumerate(architecture.stages):
        period, end = len(stage.blocks), start + stage.layers
        for index in range(period):
            yield f"stages_{number}", f"block_{index}", range(start + index, end, period)
        start = end


def _child(tree: Mapping[str, Params], name: str) -> Params:
    if name not in tree:
        raise TreeError(
            "params",
            found=f"{name} is missing",
            expected="the parameters of this architecture, unrolled",
        )
    return tree[name]


def _stack(*leaves: Array) -> Array:
    on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return np.stack(leaves) if on_host else jnp.stack(leaves)
