"""One tree of parameters in two layouts: a layer each, or alike layers stacked."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorer.architectures.architecture import Architecture
from explorer.architectures.declare import layer_name
from explorer.errors import TreeError

__all__ = ["stack_layers", "unstack_layers"]

Tree = Mapping[str, Any]


def stack_layers(params: Tree, architecture: Architecture) -> dict[str, Any]:
    """Return unrolled parameters with alike layers stacked, as `scan=True` has them.

    Args:
        params: "params" of a `Transformer`, of NumPy or JAX arrays; not changed.
        architecture: the model's.

    Raises:
        TreeError: a layer is missing.
    """
    names = {layer_name(index) for index in range(architecture.num_layers)}
    stacked: dict[str, Any] = {k: v for k, v in params.items() if k not in names}
    for stage, block, layers in _places(architecture):
        alike = [_child(params, layer_name(layer)) for layer in layers]
        stacked.setdefault(stage, {})[block] = jax.tree.map(_stack, *alike)
    return stacked


def unstack_layers(params: Tree, architecture: Architecture) -> dict[str, Any]:
    """Return stacked parameters with each layer on its own: the inverse of `stack_layers`.

    Args:
        params: "params" of a scanned `Transformer`, of NumPy or JAX arrays; not changed.
        architecture: the model's.

    Raises:
        TreeError: a stage or a block is missing.
    """
    places = list(_places(architecture))
    stages = {stage for stage, _, _ in places}
    unstacked: dict[str, Any] = {k: v for k, v in params.items() if k not in stages}
    for stage, block, layers in places:
        stack = _child(_child(params, stage), block)
        for row, layer in enumerate(layers):
            # `row` is bound now: map calls at once
            unstacked[layer_name(layer)] = jax.tree.map(lambda leaf, r=row: leaf[r], stack)
    return unstacked


def _places(architecture: Architecture) -> Iterator[tuple[str, str, range]]:
    """Yield each stacked block's two names and the layers that it stacks."""
    start = 0
    for number, stage in enumerate(architecture.stages):
        period, end = len(stage.blocks), start + stage.layers
        for index in range(period):
            yield f"stages_{number}", f"block_{index}", range(start + index, end, period)
        start = end


def _child(tree: Tree, name: str) -> Any:
    if name not in tree:
        raise TreeError(
            "params",
            found=f"{name} is missing",
            expected="the parameters of this architecture, in the other layout",
        )
    return tree[name]


def _stack(*leaves: Any) -> Any:
    on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return np.stack(leaves) if on_host else jnp.stack(leaves)
