"""GGUF's names for a model's tensors, and the layouts that its converters change.

llama.cpp uses one name where families differ, so one table covers them all. Names map
directly to leaves; a layout reverses what the converter did to the values.

References:
    gguf-py/gguf/constants.py and conversion/*.py, github.com/ggml-org/llama.cpp (2025).
"""

from typing import TYPE_CHECKING

from explorer.architectures.architecture import Architecture
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.checkpoint_names import (
    CheckpointNames,
    NameRow,
    linear_rows,
    row,
)
from explorer.architectures.tensor_layout import KEEP, TRANSPOSED, TensorLayout

if TYPE_CHECKING:
    import numpy as np

__all__ = ["InterleavedRows", "RaisedGain", "gguf_names"]

Shape = tuple[int, ...]
_EXPERTS = TensorLayout(axes=(0, 2, 1))
_INTERLEAVED = ("llama", "mistral", "mixtral", "olmo")
_RAISED = ("gemma", "gemma2", "gemma3_text")


class InterleavedRows(TensorLayout, frozen=True):
    """Rows of queries or keys, reordered by a converter so that rotary pairs are neighbours.

    A head's rows 0, 1, 2, ... 2n - 1 are stored as 0, n, 1, n + 1, ...
    """

    heads: int = 1

    def store(self, leaves: "list[np.ndarray]") -> "np.ndarray":
        """Return the stored tensor that holds these leaves."""
        return self._swapped(super().store(leaves), (self.heads, 2, -1))

    def leaves(self, stored: "np.ndarray", shapes: list[Shape]) -> "list[np.ndarray]":
        """Return the leaves of these shapes that a stored tensor holds."""
        return super().leaves(self._swapped(stored, (self.heads, -1, 2)), shapes)

    def _swapped(self, rows: "np.ndarray", split: Shape) -> "np.ndarray":
        return rows.reshape(*split, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


class RaisedGain(TensorLayout, frozen=True):
    """A gain stored as it is applied, while the parameter is the gain minus 1."""

    def store(self, leaves: "list[np.ndarray]") -> "np.ndarray":
        """Return the stored tensor that holds these leaves."""
        return super().store(leaves) + leaves[0].dtype.type(1)

    def leaves(self, stored: "np.ndarray", shapes: list[Shape]) -> "list[np.ndarray]":
        """Return the leaves of these shapes that a stored tensor holds."""
        return super().leaves(stored - stored.dtype.type(1), shapes)


def gguf_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of an architecture's tensors in a GGUF file."""
    gain = RaisedGain() if architecture.family in _RAISED else KEEP
    return CheckpointNames(
        base_prefix="",
        layer_prefix="blk.{i}.",
        top_level=(
            row("token_embd.weight", "embed/embedding"),
            row("position_embd.weight", "position_embed/embedding"),
            row("token_types.weight", "type_embed/embedding"),
            *_norm("token_embd_norm", "embed_norm", gain),
            *_norm("output_norm", "final_norm", gain),
            *linear_rows("output", "lm_head"),
        ),
        layers=(
            *_attention_rows(architecture, gain),
            *_latent_rows(),
            *_mlp_rows(architecture.family),
            *_expert_rows(),
            *_norm("attn_norm", "attention_norm", gain),
            *_norm("attn_output_norm", "attention_sum_norm", gain),
            *_norm("layer_output_norm", "mlp_sum_norm", gain),
            *_norm("post_ffw_norm", "mlp_post_norm", gain),
            *_middle_norms(architecture.family, gain),
        ),
    )


def _norm(stored: str, flax: str, gain: TensorLayout) -> tuple[NameRow, NameRow]:
    return (
        row(f"{stored}.weight", f"{flax}/scale", layout=gain),
        row(f"{stored}.bias", f"{flax}/bias"),
    )


def _attention_rows(architecture: Architecture, gain: TensorLayout) -> tuple[NameRow, ...]:
    block = next(architecture.blocks())
    weights, biases = (TRANSPOSED, TRANSPOSED), (KEEP, KEEP)
    if architecture.family in _INTERLEAVED and isinstance(block.attention, AttentionSpec):
        counts = (block.attention.heads, block.attention.kv_heads)
        weights = tuple(InterleavedRows(axes=(1, 0), heads=count) for count in counts)
        biases = tuple(InterleavedRows(heads=count) for count in counts)
    parts = ("query", "key", "value")
    return (
        row("attn_q.weight", "attention/query/kernel", layout=weights[0]),
        row("attn_q.bias", "attention/query/bias", layout=biases[0]),
        row("attn_k.weight", "attention/key/kernel", layout=weights[1]),
        row("attn_k.bias", "attention/key/bias", layout=biases[1]),
        *linear_rows("attn_v", "attention/value"),
        row(
            "attn_qkv.weight", *(f"attention/{p}/kernel" for p in parts), layout=TRANSPOSED
        ),
        row("attn_qkv.bias", *(f"attention/{p}/bias" for p in parts)),
        *linear_rows("attn_output", "attention/out"),
        *_norm("attn_q_norm", "attention/query_norm", gain),
        *_norm("attn_k_norm", "attention/key_norm", gain),
        row("attn_sinks.weight", "attention/sinks/sinks"),
    )


def _latent_rows() -> tuple[NameRow, ...]:
    return (
        *linear_rows("attn_q_a", "attention/query_down"),
        row("attn_q_a_norm.weight", "attention/query_norm/scale"),
        *linear_rows("attn_q_b", "attention/query_up"),
        *linear_rows("attn_kv_a_mqa", "attention/latent_down"),
        row("attn_kv_a_norm.weight", "attention/latent_norm/scale"),
        *linear_rows("attn_kv_b", "attention/latent_up"),
    )


def _mlp_rows(family: str) -> tuple[NameRow, ...]:
    if family == "phi3":
        both = ("mlp/gate_proj/kernel", "mlp/up_proj/kernel")
        up = (row("ffn_up.weight", *both, layout=TRANSPOSED),)
    else:
        up = (
            *linear_rows("ffn_gate", "mlp/gate_proj"),
            *linear_rows("ffn_up", "mlp/up_proj"),
        )
    return (*up, *linear_rows("ffn_down", "mlp/down_proj"))


def _expert_rows() -> tuple[NameRow, ...]:
    stacked = (
        each
        for part in ("gate", "up", "down")
        for each in (
            row(
                f"ffn_{part}_exps.weight",
                f"moe/experts/{part}_proj/kernel",
                layout=_EXPERTS,
            ),
            row(f"ffn_{part}_exps.bias", f"moe/experts/{part}_proj/bias"),
            *linear_rows(f"ffn_{part}_shexp", f"moe/shared_experts/{part}_proj"),
        )
    )
    return (
        *linear_rows("ffn_gate_inp", "moe/router"),
        row("exp_probs_b.bias", "moe/router/e_score_correction_bias"),
        *stacked,
    )


def _middle_norms(family: str, gain: TensorLayout) -> tuple[NameRow, ...]:
    """Return the norms between attention and feed-forward network."""
    if family == "gpt_oss":  # its converter uses the post-norm's name for the MLP's norm
        return _norm("post_attention_norm", "mlp_norm", gain)
    return (
        *_norm("post_attention_norm", "attention_post_norm", gain),
        *_norm("ffn_norm", "mlp_norm", gain),
    )
