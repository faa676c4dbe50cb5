"""How the values of one tensor of several models become one.

With a base, models are what they add to it: task vectors. Sums are in float32, or in float64
where a tensor is.

References:
    Ilharco et al., Editing Models with Task Arithmetic (2023).
    Yadav et al., TIES-Merging (2023): trim, elect a sign, mean of those that agree.
    Yu et al., Language Models are Super Mario (2024): DARE drops and rescales.
    Shoemake, Animating Rotation with Quaternion Curves (1985): SLERP.
    Wortsman et al., Model Soups (2022): averages.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["METHODS", "Mixing", "mixed"]

_PARALLEL = 0.9995  # cosine beyond which an arc is as good as straight


class Mixing(NamedTuple):
    """How models are combined.

    Attributes:
        method: one of `METHODS`.
        weights: of the models, as many as there are; of "slerp" the share of the way to the second.
        density: the share of each task vector that "ties" and "dare" keep.
        scale: what the combined task vector is multiplied by.
        seed: of what "dare" drops.
    """

    method: str
    weights: tuple[float, ...]
    density: float = 0.5
    scale: float = 1.0
    seed: int = 0


def mixed(
    models: Sequence[np.ndarray],
    base: np.ndarray | None,
    mixing: Mixing,
    number: int = 0,
) -> np.ndarray:
    """Return one tensor from those of several models, in the dtype of the first.

    Args:
        models: of one shape.
        base: what the models were trained from; None for methods without one.
        mixing: how.
        number: of the tensor: each drops other elements.

    >>> mixed([np.zeros(2, "f4"), np.array([2, 4], "f4")], None, Mixing("average", (0.5, 0.5)))
    array([1., 2.], dtype=float32)
    """
    wide = np.result_type(np.float32, *(_wide(each.dtype) for each in models))
    arrays = [each.astype(wide) for each in models]
    anchor = None if base is None else base.astype(wide)
    found = METHODS[mixing.method].mix(arrays, anchor, mixing, number)
    return np.asarray(found, wide).astype(models[0].dtype)


def _wide(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def _average(
    models: list[np.ndarray], base: np.ndarray | None, mixing: Mixing, number: int
) -> np.ndarray:
    total = sum(mixing.weights)
    found = sum(weight * each for weight, each in zip(mixing.weights, models, strict=True))
    return np.asarray(found) / total


def _slerp(
    models: list[np.ndarray], base: np.ndarray | None, mixing: Mixing, number: int
) -> np.ndarray:
    """Return the point of the arc between two tensors, each taken as one vector."""
    a, b = models
    share = mixing.weights[0]
    lengths = [float(np.sqrt(np.vdot(each, each))) for each in models]
    cosine = 1.0
    if all(lengths):
        cosine = float(np.clip(np.vdot(a, b) / (lengths[0] * lengths[1]), -1, 1))
    if abs(cosine) > _PARALLEL:
        return (1 - share) * a + share * b
    angle = np.arccos(cosine)
    ways = np.sin((1 - share) * angle), np.sin(share * angle)
    return (ways[0] * a + ways[1] * b) / np.sin(angle)


def _arithmetic(
    models: list[np.ndarray], base: np.ndarray | None, mixing: Mixing, number: int
) -> np.ndarray:
    assert base is not None
    steps = [
        weight * (each - base) for weight, each in zip(mixing.weights, models, strict=True)
    ]
    return base + mixing.scale * np.asarray(sum(steps))


def _ties(
    models: list[np.ndarray], base: np.ndarray | None, mixing: Mixing, number: int
) -> np.ndarray:
    assert base is not None
    steps = [_trimmed(each - base, mixing.density) for each in models]
    steps = [weight * step for weight, step in zip(mixing.weights, steps, strict=True)]
    sign = np.where(sum(steps) >= 0, 1, -1)
    total, holders = np.zeros_like(base), np.zeros_like(base)
    for weight, step in zip(mixing.weights, steps, strict=True):
        agrees = step * sign > 0
        total += np.where(agrees, step, 0)
        holders += np.where(agrees, weight, 0)
    return base + mixing.scale * total / np.where(holders == 0, 1, holders)


def _trimmed(step: np.ndarray, density: float) -> np.ndarray:
    """Return the largest elements of a task vector, the rest zero; of equal ones the first."""
    keep = round(density * step.size)
    flat = step.reshape(-1).copy()
    order = np.argsort(-np.abs(flat), kind="stable")
    flat[order[keep:]] = 0
    return flat.reshape(step.shape)


def _dare(
    models: list[np.ndarray], base: np.ndarray | None, mixing: Mixing, number: int
) -> np.ndarray:
    assert base is not None
    found = np.zeros_like(base)
    for index, (weight, each) in enumerate(zip(mixing.weights, models, strict=True)):
        draw = np.random.default_rng((mixing.seed, number, index)).random(base.shape)
        kept = np.where(draw < mixing.density, each - base, 0)
        found += weight * kept / mixing.density
    return base + mixing.scale * found


class _Method(NamedTuple):
    """A method: what it computes, and whether it needs a base."""

    mix: Callable[[list[np.ndarray], np.ndarray | None, Mixing, int], np.ndarray]
    needs_base: bool


METHODS = {
    "average": _Method(_average, False),
    "slerp": _Method(_slerp, False),
    "task_arithmetic": _Method(_arithmetic, True),
    "ties": _Method(_ties, True),
    "dare": _Method(_dare, True),
}
