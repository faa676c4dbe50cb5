"""The parameters of an architecture, from its records alone: no array, no JAX.

The tests hold that `init` of the Flax modules makes exactly these, in both layouts.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import msgspec

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.specs import Layer, Linear

__all__ = ["Declared", "declare", "declare_whole", "layer_name", "leaves_of"]

Path = tuple[str, ...]
_FIELDS = Architecture.__struct_fields__
_BEFORE = frozenset(_FIELDS[: _FIELDS.index("stages")])  # what a forward pass meets first


class Declared(NamedTuple):
    """One tensor of a model: where it is, its shape, and what its leading axes stack.

    `layers` and `experts` are how many alike layers and experts lie along the leading axes;
    1 where none do.
    """

    path: Path
    shape: tuple[int, ...]
    layers: int = 1
    experts: int = 1


def layer_name(index: int) -> str:
    """Return the name of a layer's module where layers are not stacked.

    >>> layer_name(11)
    'layers_11'
    """
    return f"layers_{index}"


def declare(architecture: Architecture, scan: bool = False) -> list[Declared]:
    """Return every tensor of a model's "params", in the order of its records.

    Args:
        architecture: the model.
        scan: whether alike layers are stacked along a leading axis.

    >>> from explorer.architectures.families import architecture_of
    >>> gpt2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 100}
    >>> len(declare(architecture_of(gpt2))), len(declare(architecture_of(gpt2), scan=True))
    (36, 20)
    """
    stages = _scanned(architecture) if scan else _unrolled(architecture)
    whole = declare_whole(architecture)
    before = [leaf for leaf in whole if leaf.path[0] in _BEFORE]
    return [*before, *stages, *(leaf for leaf in whole if leaf.path[0] not in _BEFORE)]


def declare_whole(architecture: Architecture) -> list[Declared]:
    """Return the tensors of a model that belong to no layer."""
    return [Declared(*leaf) for leaf in _walk(architecture, ())]


def _unrolled(architecture: Architecture) -> Iterator[Declared]:
    for index, block in enumerate(architecture.blocks()):
        front = (layer_name(index),)
        for path, shape, _, experts in leaves_of(block):
            yield Declared(front + path, shape, 1, experts)


def _scanned(architecture: Architecture) -> Iterator[Declared]:
    for number, stage in enumerate(architecture.stages):
        for index, block in enumerate(stage.blocks):
            front = (f"stages_{number}", f"block_{index}")
            for path, shape, _, experts in leaves_of(block):
                stacked = (stage.repeats, *shape)
                yield Declared(front + path, stacked, stage.repeats, experts)


@lru_cache(maxsize=256)
def leaves_of(block: Block) -> tuple[Declared, ...]:
    """Return the tensors of one block, its paths from the block."""
    return tuple(Declared(*leaf) for leaf in _walk(block, ()))


def _walk(layer: Layer, path: Path) -> Iterator[tuple[Path, tuple[int, ...], int, int]]:
    experts = layer.stack if isinstance(layer, Linear) and layer.stack else 1
    own = (((*path, n), shape, 1, experts) for n, shape in layer.parameters().items())
    inner = (
        _walk(value, (*path, name))
        for name, value in zip(layer.__struct_fields__, msgspec.structs.astuple(layer))
        if isinstance(value, Layer)
    )
    return chain(own, chain.from_iterable(inner))
