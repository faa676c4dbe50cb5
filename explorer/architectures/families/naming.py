"""Rows of checkpoint names that several families share."""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.architectures.checkpoint_names import (
    CheckpointNames,
    NameRow,
    linear_rows,
    row,
)
from explorer.architectures.tensor_layout import TRANSPOSED, TensorLayout

__all__ = [
    "ATTENTION_ROWS",
    "BODY_ROWS",
    "EXPERT_ROWS",
    "FUSED_EXPERT_ROWS",
    "MLP_ROWS",
    "NORM_ROWS",
    "QUERY_KEY_VALUE_ROWS",
    "ROUTER_ROW",
    "classifier_rows",
    "expert_rows",
    "llama_names",
    "tied_head",
]

# classes whose body has another name than in the rest of the family
_TRANSFORMER_PREFIXED = frozenset(
    f"{prefix}ForQuestionAnswering" for prefix in ("Llama", "Qwen2", "Qwen3", "Qwen3Moe")
)
_EXPERT_KERNELS = tuple(
    f"moe/experts/{name}_proj/kernel" for name in ("gate", "up", "down")
)


def expert_rows(experts: str, *stored: str) -> tuple[NameRow, ...]:
    """Return the rows of experts stored separately: their gate, up and down projections."""
    return tuple(
        row(f"{experts}.{{e}}.{name}.weight", kernel, layout=TRANSPOSED)
        for name, kernel in zip(stored, _EXPERT_KERNELS, strict=True)
    )


QUERY_KEY_VALUE_ROWS = (
    *linear_rows("self_attn.q_proj", "attention/query"),
    *linear_rows("self_attn.k_proj", "attention/key"),
    *linear_rows("self_attn.v_proj", "attention/value"),
)
ATTENTION_ROWS = (
    *QUERY_KEY_VALUE_ROWS,
    *linear_rows("self_attn.o_proj", "attention/out"),
    row("self_attn.q_norm.weight", "attention/query_norm/scale"),
    row("self_attn.k_norm.weight", "attention/key_norm/scale"),
)
MLP_ROWS = (
    *linear_rows("mlp.gate_proj", "mlp/gate_proj"),
    *linear_rows("mlp.up_proj", "mlp/up_proj"),
    *linear_rows("mlp.down_proj", "mlp/down_proj"),
)
NORM_ROWS = (
    row("input_layernorm.weight", "attention_norm/scale"),
    row("post_attention_layernorm.weight", "mlp_norm/scale"),
)
BODY_ROWS = (
    row("model.embed_tokens.weight", "embed/embedding"),
    row("model.norm.weight", "final_norm/scale"),
    *linear_rows("lm_head", "lm_head"),
)
ROUTER_ROW = row("mlp.gate.weight", "moe/router/kernel", layout=TRANSPOSED)
EXPERT_ROWS = expert_rows("mlp.experts", "gate_proj", "up_proj", "down_proj")
# as transformers 5 holds them in memory: all experts in one tensor, gate and up together
FUSED_EXPERT_ROWS = (
    row(
        "mlp.experts.gate_up_proj",
        *_EXPERT_KERNELS[:2],
        layout=TensorLayout(axes=(0, 2, 1), axis=1),
    ),
    row("mlp.experts.down_proj", _EXPERT_KERNELS[2], layout=TensorLayout(axes=(0, 2, 1))),
)


def llama_names(
    architecture: Architecture,
    *layers: NameRow,
    top_level: tuple[NameRow, ...] = BODY_ROWS,
) -> CheckpointNames:
    """Return the names of a family with LLaMA's prefixes.

    Args:
        architecture: the model.
        layers: the rows of a layer.
        top_level: the rows outside the layers.
    """
    base = "model."
    if architecture.class_name in _TRANSFORMER_PREFIXED:
        base = "transformer."
        top_level = tuple(
            replace(each, stored=each.stored.replace("model.", base, 1))
            for each in top_level
        )
    return CheckpointNames(
        base_prefix=base,
        layer_prefix=f"{base}layers.{{i}}.",
        top_level=(*top_level, *classifier_rows(architecture)),
        layers=layers,
        aliases=tied_head(architecture),
    )


def classifier_rows(
    architecture: Architecture, token: str = "score"
) -> tuple[NameRow, ...]:
    """Return the rows of a decoder's classifier; `token` is the stored name of one for tokens."""
    name = architecture.class_name
    stored = token if name.endswith("ForTokenClassification") else "score"
    if name.endswith("ForQuestionAnswering"):
        stored = "qa_outputs"
    return linear_rows(stored, "classifier")


def tied_head(architecture: Architecture, *stored: str) -> tuple[NameRow, ...]:
    """Return the second names of a tied embedding, `lm_head.weight` by default."""
    names = stored or ("lm_head.weight",)
    return tuple(row(n, "embed/embedding") for n in names) if architecture.tied else ()
