"""A transformer run layer by layer, so that each is calibrated on what pruned layers before it give.

The hidden states of all batches are in memory, and the moments of one layer.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from explorer.architectures.architecture import BlockSpec
from explorer.architectures.declaration import layer_name
from explorer.models.block import Block
from explorer.models.masks import AttentionInputs
from explorer.models.transformer import Transformer
from explorer.transforms.calibration.moments import (
    InputMoments,
    batches_of,
    recorded,
    recording,
)
from explorer.tree.types import Params

__all__ = ["LayerStates", "first_states", "layer_moments", "next_states"]


class LayerStates(NamedTuple):
    """What flows into a layer, for each batch.

    Attributes:
        hidden: [batch, length, size].
        inputs: of each layer's attention.
        masks: [batch, length], 0 for padding; or None.
    """

    hidden: list[jax.Array]
    inputs: list[list[AttentionInputs]]
    masks: list[Any]


def first_states(model: Transformer, params: Params, data: Any) -> LayerStates:
    """Return what flows into the first layer of a model that is not scanned.

    Args:
        model: explorer's own.
        params: its "params".
        data: as of `gather_moments`.
    """

    @jax.jit
    def start(params: Params, first: Any, rest: dict[str, Any]) -> Any:
        seen: list[tuple[jax.Array, AttentionInputs]] = []

        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if isinstance(context.module, Block) and context.method_name == "__call__":
                seen.append(args)
            return call(*args, **kwargs)

        with nn.intercept_methods(intercept):
            model.apply({"params": params}, first, **rest)
        return seen[0][0], [inputs for _, inputs in seen]  # the rest is not computed

    states = LayerStates([], [], [])
    for first, rest in batches_of(data):
        hidden, inputs = start(params, first, rest)
        states.hidden.append(hidden)
        states.inputs.append(inputs)
        states.masks.append(rest.get("attention_mask"))
    return states


def layer_moments(
    model: Transformer, index: int, params: Params, states: LayerStates, hessians: bool
) -> dict[str, InputMoments]:
    """Return the moments of a layer's kernels, by their names in the model.

    Args:
        model: the model.
        index: of the layer.
        params: of the layer alone.
        states: what flows into it.
        hessians: whether products of inputs are summed.
    """
    block, total = _block(model, index), None
    for hidden, inputs, mask in zip(*states, strict=True):
        found = _recorded(block, params, hidden, inputs[index], mask, hessians)
        total = found if total is None else jax.tree.map(jax.numpy.add, total, found)
    name = layer_name(index)
    return {f"{name}/{layer}/kernel": each for layer, each in (total or {}).items()}


def next_states(
    model: Transformer, index: int, params: Params, states: LayerStates
) -> LayerStates:
    """Return what flows out of a layer, which is what flows into the next one."""
    block = _block(model, index)
    hidden = [
        _called(block, params, each, inputs[index])
        for each, inputs in zip(states.hidden, states.inputs, strict=True)
    ]
    return states._replace(hidden=hidden)


def _block(model: Transformer, index: int) -> Block:
    specs: Iterator[BlockSpec] = model.architecture.blocks()
    return Block([*specs][index], model.param_dtype, model.implementation)


@partial(jax.jit, static_argnums=0)
def _called(block: Block, params: Params, hidden: jax.Array, inputs: Any) -> jax.Array:
    result: Any = block.apply({"params": params}, hidden, inputs)
    return result


@partial(jax.jit, static_argnums=(0, 5))
def _recorded(
    block: Block, params: Params, hidden: jax.Array, inputs: Any, mask: Any, hessians: bool
) -> dict[str, InputMoments]:
    with recording(mask, hessians):
        _, state = block.apply(
            {"params": params}, hidden, inputs, mutable=["intermediates"]
        )
    return recorded(state)
