"""Tiny models of every family with random parameters, in either layout."""

from functools import cache

import jax
import numpy as np

from explorer.architectures.declaration import declare
from explorer.architectures.families import SUPPORTED, architecture_of
from explorer.models.stacking import stack_layers
from explorer.models.transformer import Transformer
from tests.conformance.cases import CASES

__all__ = [
    "CONFIGS",
    "IDS",
    "LENGTH",
    "inputs_of",
    "model_of",
    "random_params",
    "run",
    "shapes_of",
]

CONFIGS = {case.name: case.config for case in CASES if case.model_type in SUPPORTED}
LENGTH = 14
IDS = np.random.default_rng(0).integers(3, 61, (2, LENGTH))


def inputs_of(architecture) -> np.ndarray:
    """Return tokens, or pixels where the model sees images."""
    patches = architecture.patch_embed
    if patches is None:
        return IDS
    shape = (2, patches.image, patches.image, patches.channels)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def random_params(architecture, seed: int = 0) -> dict:
    """Return unrolled parameters of normal values, gains around 1."""
    random, tree = np.random.default_rng(seed), {}
    for leaf in declare(architecture):
        node = tree
        for name in leaf.path[:-1]:
            node = node.setdefault(name, {})
        values = random.normal(scale=0.3, size=leaf.shape) + (leaf.path[-1] == "scale")
        node[leaf.path[-1]] = values.astype(np.float32)
    return tree


def model_of(name: str, scan: bool = False, changes: dict | None = None, **rest):
    """Return a tiny model and random parameters in its layout."""
    architecture = architecture_of(CONFIGS[name] | (changes or {}))
    params = random_params(architecture)
    params = stack_layers(params, architecture) if scan else params
    return Transformer(architecture, scan=scan, **rest), {"params": params}


@cache
def run(name: str):
    """Return a tiny model's logits as a jitted function of tokens."""
    model, params = model_of(name)
    return jax.jit(lambda ids, **rest: model.apply(params, ids, **rest).logits)


def shapes_of(params) -> dict:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {tuple(key.key for key in path): leaf.shape for path, leaf in leaves}
