"""Right calls of what runs or explains whole models: tiny ones, in folders with a tokenizer."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import explorer as ex
from tests.generation import tiny_folder

__all__ = ["MODEL_CALLS", "model_folders"]


def model_folders(folder: Path) -> None:
    """Write the folders that the calls name into a folder."""
    tiny_folder.write(folder / "decoder")
    tiny_folder.write(folder / "encoder", "bert")


@cache
def decoder() -> tuple[Any, Any]:
    """A module that generates, and its parameters."""
    module = ex.build_model({
        "model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 6,
        "max_position_embeddings": 8, "tie_word_embeddings": False,
    })  # fmt: skip
    return module, module.init(jax.random.key(0), jnp.ones((1, 4), jnp.int32))["params"]


@cache
def evaluator() -> ex.Evaluator:
    """What measures a layer of eight inputs and four outputs."""
    return ex.Evaluator(
        lambda params, ids: jnp.zeros((*ids.shape, 4)) + params["dense"]["bias"],
        np.ones((1, 4), np.int32),
    )


def layer() -> dict[str, Any]:
    """Parameters of one layer."""
    kernel = np.arange(32, dtype=np.float32).reshape(8, 4) - 7
    return {"dense": {"kernel": kernel, "bias": np.ones(4, np.float32)}}


MODEL_CALLS: dict[str, tuple[Callable[..., Any], Callable[[], Mapping[str, Any]]]] = {
    "embed": (ex.embed, lambda: {
        "target": "encoder", "texts": ["word3 word4"], "pooling": "mean", "normalise": None,
        "batch": 2, "dtype": None}),
    "evaluate_text": (ex.evaluate_text, lambda: {
        "target": "decoder", "text": "word3 word4 word5", "length": None, "stride": None,
        "dtype": None}),
    "explain": (ex.explain, lambda: {"target": "gpt2", "word": "bias", "run": None}),
    "generate": (ex.generate, lambda: {
        "module": decoder()[0], "params": decoder()[1], "tokens": np.ones((1, 2), np.int32),
        "settings": None, "attention_mask": None, "on_token": None, "max_new_tokens": 2}),
    "generate_text": (ex.generate_text, lambda: {
        "target": "decoder", "text": "word3", "settings": None, "dtype": None, "on_text": None,
        "max_new_tokens": 2}),
    "report": (ex.report, lambda: {
        "target": layer(), "other": None, "path": None, "values": None, "roles": False}),
    "sensitivity": (ex.sensitivity, lambda: {
        "params": layer(), "schemes": ["int8"], "evaluate": evaluator(), "select": "**"}),
}  # fmt: skip
