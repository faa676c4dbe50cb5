"""Pruning by what flows through a model: Wanda and SparseGPT, layer by layer.

A layer of explorer's own models is calibrated on what the pruned layers before it give, as both
papers do. Other modules, and models whose layers are scanned, are calibrated once, as they were.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from explorer.architectures.declaration import layer_name
from explorer.models.transformer import Transformer
from explorer.transforms.calibration.layerwise import (
    first_states,
    layer_moments,
    next_states,
)
from explorer.transforms.calibration.moments import InputMoments, gather_moments
from explorer.transforms.pruning.kernels import (
    Evidence,
    Prunable,
    PrunedTensor,
    prune_tensors,
)
from explorer.transforms.pruning.patterns import Pattern, PruneSettings
from explorer.transforms.pruning.sparsegpt import sparsegpt
from explorer.tree.types import Params

__all__ = ["prune_calibrated"]


def prune_calibrated(
    model: Any,
    params: Params,
    data: Any,
    settings: PruneSettings,
    tensors: Sequence[Prunable],
) -> Iterator[PrunedTensor]:
    """Yield each tensor of a model, pruned if it has a view.

    Args:
        model: a Linen module.
        params: its "params", a nested dict.
        data: token ids or batches, as of `gather_moments`.
        settings: by "wanda" or "sparsegpt".
        tensors: of the parameters, named by their paths in them.

    Raises:
        InputError: as `prune_tensors` and `gather_moments`.
    """
    is_own = isinstance(model, Transformer) and not model.scan
    hessians = settings.by == "sparsegpt"
    if not is_own or settings.scope == "global":
        moments = gather_moments(model, params, data, hessians=hessians)
        yield from prune_tensors(lambda: tensors, settings, _evidence(moments, tensors))
        return
    states = first_states(model, params, data)
    inside: set[str] = set()
    for index in range(model.architecture.num_layers):
        name = layer_name(index)
        own = [each for each in tensors if each.name.startswith(f"{name}/")]
        inside.update(each.name for each in own)
        moments = layer_moments(model, index, params[name], states, hessians)
        pruned = list(prune_tensors(_given(own), settings, _evidence(moments, own)))
        yield from pruned
        states = next_states(model, index, _updated(params[name], pruned, name), states)
    # what is outside the layers: heads, where they were selected
    rest = [each for each in tensors if each.name not in inside]
    moments = {}
    if any(each.view is not None for each in rest):
        moments = gather_moments(model, params, data, hessians=hessians)
    yield from prune_tensors(lambda: rest, settings, _evidence(moments, rest))


def _given(tensors: Sequence[Prunable]) -> Callable[[], Sequence[Prunable]]:
    return lambda: tensors


def _evidence(moments: Mapping[str, InputMoments], tensors: Sequence[Prunable]) -> Evidence:
    """Return moments in the layout of each kernel's view, [stack, ...]."""
    squares: dict[str, Any] = {}
    hessians: dict[str, Any] = {}
    for each in tensors:
        found = moments.get(each.name)
        if each.view is None or found is None:
            continue
        stack, inputs, _ = each.view.matrix
        squares[each.name] = np.asarray(found.squares).reshape(stack, inputs)
        if found.hessian is not None:
            hessians[each.name] = found.hessian.reshape(stack, inputs, inputs)
    return Evidence(squares, hessians, solve=_solve)


def _solve(rows: np.ndarray, hessian: jax.Array, pattern: Pattern) -> np.ndarray:
    return np.asarray(sparsegpt(jax.numpy.asarray(rows), hessian, pattern))


def _updated(layer: Params, pruned: Sequence[PrunedTensor], name: str) -> Params:
    """Return the parameters of a layer with its pruned kernels."""
    after = {
        tuple(each.tensor.name.removeprefix(f"{name}/").split("/")): each.values
        for each in pruned
    }

    def replaced(node: Any, path: tuple[str, ...]) -> Any:
        if isinstance(node, Mapping):
            return {key: replaced(value, (*path, key)) for key, value in node.items()}
        return after.get(path, node)

    return replaced(layer, ())
