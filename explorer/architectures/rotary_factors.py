"""The rotary factors that some models' GGUF files store as tensors."""

from math import pi
from typing import TYPE_CHECKING

from explorer.architectures.architecture import Architecture

if TYPE_CHECKING:
    import numpy as np

__all__ = ["rope_factors"]


def rope_factors(architecture: Architecture) -> "dict[str, np.ndarray]":
    """Return the tensors of rotary factors, float32, by their names in the file.

    >>> from explorer.architectures.resolve import resolve
    >>> rope_factors(resolve("llama-2-7b").architecture)
    {}
    >>> [f.shape for f in rope_factors(resolve("llama-3.1-8b").architecture).values()]
    [(64,)]
    """
    import numpy as np

    for stage in architecture.stages[:1]:
        rope = stage.blocks[0].attention.rope
        if rope is None or rope.scaling is None:
            return {}
        scaling = rope.scaling
        if scaling.kind == "longrope":
            return {
                f"rope_factors_{which}.weight": np.array(factors, np.float32)
                for which, factors in (("long", scaling.long), ("short", scaling.short))
            }
        if scaling.kind == "llama3":
            count = rope.size // 2
            lengths = 2 * pi * rope.theta ** (np.arange(count) / count)
            span = scaling.high - scaling.low
            smooth = (scaling.original / lengths - scaling.low) / span
            smooth = np.clip(smooth, 0.0, 1.0)
            factors = 1 / ((1 - smooth) / scaling.factor + smooth)
            return {"rope_freqs.weight": factors.astype(np.float32)}
    return {}
