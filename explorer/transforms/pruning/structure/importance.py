"""How much each entry of a model's kernels matters, and each of its layers."""

from collections.abc import (
    Mapping,
)
from typing import Any

import jax
import numpy as np

from explorer.architectures.declaration import layer_name
from explorer.errors import TreeError, shown
from explorer.models.transformer import Transformer
from explorer.transforms.calibration.layerwise import (
    first_states,
    layer_moments,
    next_states,
)
from explorer.transforms.pruning.patterns import Pattern
from explorer.tree.types import Params

__all__ = ["energies_of", "flat_arrays", "leaves_of", "scores_of_layers"]

Path = tuple[str, ...]


def scores_of_layers(
    model: Transformer, params: Params, pattern: Pattern, by: str, data: Any, seed: int
) -> list[Any]:
    """Return the energies of each layer's kernels; of layers to be removed, one number each."""
    number = model.architecture.num_layers
    names = [layer_name(index) for index in range(number)]
    there = isinstance(params, Mapping) and all(
        isinstance(params.get(name), Mapping) for name in names
    )
    if not there:
        raise TreeError(
            "params", found=shown(params, 60), expected="the model's parameters"
        )
    flat = [flat_arrays(params[name]) for name in names]
    of_layers = pattern.kind == "layers"
    if by == "random":
        rng = np.random.default_rng(seed)
        if of_layers:
            return list(rng.random(number))
        return [
            {p: rng.random(v.shape) for p, v in each.items() if p[-1] == "kernel"}
            for each in flat
        ]
    if by == "magnitude":
        found = [energies_of(each, {}) for each in flat]
        if not of_layers:
            return found
        return [
            sum(e.sum() for e in each.values()) / sum(e.size for e in each.values())
            for each in found
        ]
    found = []
    states = first_states(model, params, data)
    for index in range(number):
        name = layer_name(index)
        after = next_states(model, index, params[name], states)
        if of_layers:
            found.append(_turned(states.hidden, after.hidden))
        else:
            moments = layer_moments(model, index, params[name], states, False)
            squares = {
                tuple(key.split("/")[1:]): np.asarray(m.squares) / float(np.sum(m.tokens))
                for key, m in moments.items()
            }
            found.append(energies_of(flat[index], squares))
        states = after
    return found


def _turned(before: list[jax.Array], after: list[jax.Array]) -> float:
    """Return 1 minus the mean cosine between what flows into a layer and out of it."""
    cosines = []
    for a, b in zip(before, after, strict=True):
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        cosines.append(((a * b).sum(-1) / np.maximum(norms, 1e-30)).reshape(-1))
    return 1 - float(np.concatenate(cosines).mean())


def energies_of(leaves: Mapping[Path, Any], squares: Mapping[Path, Any]) -> dict[Path, Any]:
    """Return the squares of kernels, times the mean squares of their inputs where known."""
    found: dict[Path, Any] = {}
    for path, leaf in leaves.items():
        if path[-1] == "kernel":
            energy = np.square(np.asarray(leaf, np.float64))
            known = squares.get(path)
            found[path] = energy if known is None else energy * np.asarray(known)[..., None]
    return found


def flat_arrays(tree: Any) -> dict[Path, np.ndarray]:
    """Return the leaves of a nested dict by path, as arrays of NumPy."""
    return {path: np.asarray(leaf) for path, leaf in leaves_of(tree).items()}


def leaves_of(tree: Any, path: Path = ()) -> dict[Path, Any]:
    """Return the leaves of a nested dict by path."""
    found: dict[Path, Any] = {}
    for name, node in tree.items():
        found |= (
            leaves_of(node, (*path, name))
            if isinstance(node, Mapping)
            else {(*path, name): node}
        )
    return found
