"""Grok-1 in float64 NumPy, from its published description (xai-org/grok-1, 2024).

A decoder of pre- and post-normed blocks: grouped attention whose logits are scaled by
a constant and capped at 30, then a mixture of gated experts weighted by the softmax over
all of them. One table embeds and unembeds, each with a constant factor. Kernels are
[inputs, outputs]; an expert's axis comes first.
"""

from typing import Any

import numpy as np

__all__ = ["forward", "shapes_of"]

_CAP = 30.0
_EPS = 1e-5
_THETA = 10_000.0
_LAYER = "language_model/transformer/decoder_layer_{}/"


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor by the name it has in the published checkpoint."""
    size, inner = config["hidden_size"], config["intermediate_size"]
    experts, each = config["num_experts"], config["head_dim"]
    queries = config["num_attention_heads"] * each
    keys = config["num_key_value_heads"] * each
    layer = {
        "moe/linear/w": (experts, size, inner),
        "moe/linear_1/w": (experts, inner, size),
        "moe/linear_v/w": (experts, size, inner),
        "multi_head_attention/key/w": (size, keys),
        "multi_head_attention/linear/w": (queries, size),
        "multi_head_attention/query/w": (size, queries),
        "multi_head_attention/value/w": (size, keys),
        "rms_norm/scale": (size,),
        "rms_norm_1/scale": (size,),
        "rms_norm_2/scale": (size,),
        "rms_norm_3/scale": (size,),
        "router/w": (size, experts),
    }
    shapes = {"language_model/in_out_embed/embeddings": (config["vocab_size"], size)}
    for index in range(config["num_hidden_layers"]):
        start = _LAYER.format(index)
        shapes |= {start + name: shape for name, shape in layer.items()}
    return shapes | {"language_model/rms_norm/scale": (size,)}


def forward(
    config: dict[str, Any],
    weights: dict[str, np.ndarray],
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    position_ids: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return logits, the normed last stream and the experts chosen, one array a layer.

    Args:
        config: sizes, and the three constant factors.
        weights: by name, as `shapes_of` lists them.
        input_ids: [batch, length].
        attention_mask: 0 at padding, [batch, length].
        position_ids: [batch, length].
    """
    arrays = {name: array.astype(np.float64) for name, array in weights.items()}
    table = arrays["language_model/in_out_embed/embeddings"]
    length = input_ids.shape[1]
    visible = np.tril(np.ones((length, length), bool)) & (attention_mask[:, None, :] != 0)
    stream = table[input_ids] * config["embedding_multiplier_scale"]
    choices = []
    for index in range(config["num_hidden_layers"]):
        start = _LAYER.format(index)
        layer = {n[len(start) :]: a for n, a in arrays.items() if n.startswith(start)}
        normed = _rms(stream, layer["rms_norm/scale"])
        attended = _attention(config, layer, normed, visible, position_ids)
        stream = stream + _rms(attended, layer["rms_norm_1/scale"])
        normed = _rms(stream, layer["rms_norm_2/scale"])
        mixed, chosen = _mixture(config, layer, normed)
        stream = stream + _rms(mixed, layer["rms_norm_3/scale"])
        choices.append(chosen)
    hidden = _rms(stream, arrays["language_model/rms_norm/scale"])
    logits = hidden @ table.T * config["output_multiplier_scale"]
    return {"logits": logits, "hidden": hidden, "experts": np.stack(choices)}


def _rms(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return scale * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + _EPS)


def _attention(
    config: dict[str, Any],
    layer: dict[str, np.ndarray],
    x: np.ndarray,
    visible: np.ndarray,
    positions: np.ndarray,
) -> np.ndarray:
    each, groups = config["head_dim"], config["num_key_value_heads"]
    query, key, value = (
        (x @ layer[f"multi_head_attention/{name}/w"]).reshape(*x.shape[:2], -1, each)
        for name in ("query", "key", "value")
    )
    query, key = _rotate(query, positions), _rotate(key, positions)
    # neighbouring queries share one key
    query = query.reshape(*x.shape[:2], groups, -1, each)
    logits = np.einsum("btgqd,bsgd->bgqts", query, key) * config["attn_output_multiplier"]
    logits = _CAP * np.tanh(logits / _CAP)
    shares = _softmax(np.where(visible[:, None, None], logits, -1e30))
    heads = np.einsum("bgqts,bsgd->btgqd", shares, value)
    return heads.reshape(*x.shape[:2], -1) @ layer["multi_head_attention/linear/w"]


def _rotate(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    half = x.shape[-1] // 2
    angles = positions[..., None] * _THETA ** (-np.arange(half) / half)
    cos, sin = np.cos(angles)[:, :, None], np.sin(angles)[:, :, None]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _mixture(
    config: dict[str, Any], layer: dict[str, np.ndarray], x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    shares = _softmax(x @ layer["router/w"])
    chosen = np.argsort(-shares, axis=-1)[..., : config["num_experts_per_tok"]]
    gate = _gelu(np.einsum("bth,ehi->btei", x, layer["moe/linear/w"]))
    inner = gate * np.einsum("bth,ehi->btei", x, layer["moe/linear_v/w"])
    answers = np.einsum("btei,eih->bteh", inner, layer["moe/linear_1/w"])
    picked = np.take_along_axis(answers, chosen[..., None], axis=2)
    weights = np.take_along_axis(shares, chosen, axis=-1)
    return np.sum(weights[..., None] * picked, axis=2), chosen


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
