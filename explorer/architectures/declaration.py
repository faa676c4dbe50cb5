"""The parameters that an architecture declares, from its records alone: no arrays, no JAX.

Tests check that `init` of the Flax modules creates exactly these, in both layouts.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import msgspec

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.specs import LayerSpec, LinearSpec

__all__ = [
    "DeclaredTensor",
    "block_tensors",
    "count_declared",
    "declare",
    "declare_outside_layers",
    "layer_name",
]

Path = tuple[str, ...]
_FIELDS = Architecture.__struct_fields__
_BEFORE = frozenset(_FIELDS[: _FIELDS.index("stages")])  # used before the layers


class DeclaredTensor(NamedTuple):
    """A tensor of a model: its path, its shape, and what its leading axes stack.

    `layers` and `experts` are the numbers of layers and experts stacked along the leading
    axes, 1 where there is no such axis.
    """

    path: Path
    shape: tuple[int, ...]
    layers: int = 1
    experts: int = 1


def layer_name(index: int) -> str:
    """Return the module name of a layer in the unrolled layout.

    >>> layer_name(11)
    'layers_11'
    """
    return f"layers_{index}"


def declare(architecture: Architecture, scan: bool = False) -> list[DeclaredTensor]:
    """Return every tensor of a model's "params", in the order of its records.

    Args:
        architecture: the model.
        scan: whether identical layers are stacked along a leading axis.

    >>> from explorer.architectures.families import architecture_of
    >>> gpt2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 100}
    >>> len(declare(architecture_of(gpt2))), len(declare(architecture_of(gpt2), scan=True))
    (36, 20)
    """
    stages = _scanned(architecture) if scan else _unrolled(architecture)
    outside = declare_outside_layers(architecture)
    before = [tensor for tensor in outside if tensor.path[0] in _BEFORE]
    return [*before, *stages, *(t for t in outside if t.path[0] not in _BEFORE)]


def count_declared(architecture: Architecture) -> int:
    """Return the number of tensors that `declare` lists without stacked layers."""
    blocks = (
        stage.repeats * sum(len(block_tensors(block)) for block in stage.blocks)
        for stage in architecture.stages
    )
    return len(declare_outside_layers(architecture)) + sum(blocks)


def declare_outside_layers(architecture: Architecture) -> list[DeclaredTensor]:
    """Return the tensors of a model that belong to no layer: embeddings, norms, heads."""
    return [DeclaredTensor(*tensor) for tensor in _walk(architecture, ())]


def _unrolled(architecture: Architecture) -> Iterator[DeclaredTensor]:
    for index, block in enumerate(architecture.blocks()):
        prefix = (layer_name(index),)
        for path, shape, _, experts in block_tensors(block):
            yield DeclaredTensor(prefix + path, shape, 1, experts)


def _scanned(architecture: Architecture) -> Iterator[DeclaredTensor]:
    for number, stage in enumerate(architecture.stages):
        for index, block in enumerate(stage.blocks):
            prefix = (f"stages_{number}", f"block_{index}")
            for path, shape, _, experts in block_tensors(block):
                stacked = (stage.repeats, *shape)
                yield DeclaredTensor(prefix + path, stacked, stage.repeats, experts)


@lru_cache(maxsize=256)
def block_tensors(block: BlockSpec) -> tuple[DeclaredTensor, ...]:
    """Return the tensors of one block, with paths relative to the block."""
    return tuple(DeclaredTensor(*tensor) for tensor in _walk(block, ()))


def _walk(layer: LayerSpec, path: Path) -> Iterator[tuple[Path, tuple[int, ...], int, int]]:
    experts = layer.stack if isinstance(layer, LinearSpec) and layer.stack else 1
    own = (((*path, n), shape, 1, experts) for n, shape in layer.parameters().items())
    inner = (
        _walk(value, (*path, name))
        for name, value in zip(layer.__struct_fields__, msgspec.structs.astuple(layer))
        if isinstance(value, LayerSpec)
    )
    return chain(own, chain.from_iterable(inner))
