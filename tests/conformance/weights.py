"""Random weights that depend only on a tensor's name and shape.

RandomState is frozen: NumPy guarantees the same numbers in every version. Scales keep hidden
states of order 1, attention far from uniform and logits distinct at any depth.
"""

from collections.abc import Mapping
from math import prod
from zlib import crc32

import numpy as np

__all__ = ["weight_of", "weights_of"]

_TABLES = ("embed_tokens", "embed_in", "embed_positions", "embeddings", "wte", "wpe")
_TOKENS = ("cls_token", "position_embeddings")
# far enough out for gpt-oss to reach its limit and for the two forms of GELU to part
_GAINS = {"gate_up_proj": 4.0} | dict.fromkeys(
    ("c_fc", "fc1", "fc_in", "lin1", "dense_h_to_4h", "intermediate"), 2.5
)
_CENTRED = ("gemma", "gemma2", "gemma3_text")


def weights_of(
    shapes: Mapping[str, tuple[int, ...]], model_type: str
) -> dict[str, np.ndarray]:
    """Return one float32 array per name; Gemma's gains are around 0, others around 1."""
    centred = model_type in _CENTRED
    return {name: weight_of(name, tuple(shape), centred) for name, shape in shapes.items()}


def weight_of(name: str, shape: tuple[int, ...], centred: bool = False) -> np.ndarray:
    """Return the array of one tensor.

    >>> weight_of("model.norm.weight", (2,)).round(3)
    array([1.086, 1.139], dtype=float32)
    """
    noise = np.random.RandomState(crc32(name.encode())).standard_normal(shape)
    mean, spread = _scale(name, shape, centred)
    return (mean + spread * noise).astype(np.float32)


def _scale(name: str, shape: tuple[int, ...], centred: bool) -> tuple[float, float]:
    """Return mean and standard deviation."""
    names = name.replace("/", ".").split(".")
    if names[-1] == "sinks":
        return 0.0, 1.0
    if names[-1].endswith("bias"):
        return 0.0, 0.1
    if len(shape) == 1:
        return (0.0 if centred else 1.0), 0.1
    if len(shape) < 4 and not {*_TABLES, *_TOKENS}.isdisjoint(names):
        return 0.0, 0.5
    inputs_first = len(shape) == 3 or names[-1] == "w" or names[-2].startswith("c_")
    inputs = shape[len(shape) - 2] if inputs_first else prod(shape[1:])
    gains = [gain for name, gain in _GAINS.items() if name in names]
    return 0.0, (gains[0] if gains else 1.0) / inputs**0.5
