"""The halves of latent attention in a GGUF file, joined again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["rejoined"]


def rejoined(tensors: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """Return tensors with the halves of latent attention's `attn_kv_b` joined again.

    A converter splits it into keys [heads, latent, nope] and values [heads, value, latent].
    Halves whose shapes do not match are kept, and reported as unexpected.
    """
    import numpy as np

    found = dict(tensors)
    for name, keys in tensors.items():
        prefix = name.removesuffix("attn_k_b.weight")
        values = tensors.get(f"{prefix}attn_v_b.weight")
        if prefix == name or values is None or keys.ndim != 3 or values.ndim != 3:
            continue
        if (keys.shape[0], keys.shape[1]) == (values.shape[0], values.shape[2]):
            del found[name], found[f"{prefix}attn_v_b.weight"]
            both = np.concatenate([keys.swapaxes(1, 2), values], axis=1)
            found[f"{prefix}attn_kv_b.weight"] = both.reshape(-1, keys.shape[1])
    return found
