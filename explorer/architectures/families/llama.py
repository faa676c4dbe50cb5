"""LLaMA and those that differ from it by a bias, a window or norms of queries and keys.

Touvron et al. 2023 (LLaMA), Jiang et al. 2023 (Mistral), Qwen2 2024, Qwen3 2025.
"""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    gated_mlp,
    grouped_attention,
    heads_of,
    language_model,
    windows_of,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import Names, linear, row
from explorer.architectures.specs import Attention, Norm

__all__ = [
    "ATTENTION_ROWS",
    "BODY_ROWS",
    "MLP_ROWS",
    "NORM_ROWS",
    "SPARE_HEAD",
    "names",
    "translate",
]

_PREFIXES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
# what a config that is silent means, by the reference's classes
_KV_HEADS = {"mistral": 8, "qwen2": 32, "qwen3": 32}
_EPS = {"llama": 1e-6, "mistral": 1e-6, "qwen2": 1e-6, "qwen3": 1e-6}


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a llama, mistral, qwen2 or qwen3 config."""
    prefix = _PREFIXES[model_type]
    class_name = class_of(fields, f"{prefix}ForCausalLM", f"{prefix}Model")
    size = fields.size("hidden_size")
    norm = Norm(size, fields.number("rms_norm_eps", default=_EPS[model_type]))
    mlp = gated_mlp(
        size,
        fields.size("intermediate_size"),
        activation_of(fields, "hidden_act"),
        fields.flag("mlp_bias", default=False),
    )
    kinds: dict[int | None, Block] = {}
    blocks = []
    for window in _windows(fields, model_type):
        if window not in kinds:
            attention = _attention(fields, model_type, norm, window)
            kinds[window] = Block(
                attention_norm=norm, attention=attention, mlp_norm=norm, mlp=mlp
            )
        blocks.append(kinds[window])
    return language_model(fields, model_type, class_name, blocks, norm)


def _attention(
    fields: Fields, model_type: str, norm: Norm, window: int | None
) -> Attention:
    heads = heads_of(fields, _KV_HEADS.get(model_type))
    # over one head
    own = Norm(heads[2], norm.eps) if model_type == "qwen3" else None
    bias = fields.flag("attention_bias", default=False)
    return grouped_attention(
        norm.size,
        heads,
        bias=bias or model_type == "qwen2",
        out_bias=bias,
        query_norm=own,
        key_norm=own,
        rope=rope_of(fields, heads[2]),
        window=window,
    )


def _windows(fields: Fields, model_type: str) -> list[int | None]:
    """Return how far each layer sees; None for all that came before."""
    layers = fields.layers("num_hidden_layers")
    if model_type == "llama":
        return [None] * layers
    if model_type == "mistral":
        # null says no window; a config that does not speak of it has the first release's
        silent = "sliding_window" not in fields.content
        window = 4096 if silent else fields.size("sliding_window", default=None)
        return [window] * layers
    window = None
    if fields.flag("use_sliding_window", default=False):
        window = fields.size("sliding_window", default=4096)
    kinds = windows_of(fields, layers, window) if window else None
    if kinds is not None:
        return kinds
    full = fields.index("max_window_layers", default=28)
    return [window if index >= full else None for index in range(layers)]


ATTENTION_ROWS = (
    *linear("self_attn.q_proj", "attention/query"),
    *linear("self_attn.k_proj", "attention/key"),
    *linear("self_attn.v_proj", "attention/value"),
    *linear("self_attn.o_proj", "attention/out"),
    row("self_attn.q_norm.weight", "attention/query_norm/scale"),
    row("self_attn.k_norm.weight", "attention/key_norm/scale"),
)
MLP_ROWS = (
    *linear("mlp.gate_proj", "mlp/gate_proj"),
    *linear("mlp.up_proj", "mlp/up_proj"),
    *linear("mlp.down_proj", "mlp/down_proj"),
)
NORM_ROWS = (
    row("input_layernorm.weight", "attention_norm/scale"),
    row("post_attention_layernorm.weight", "mlp_norm/scale"),
)
BODY_ROWS = (
    row("model.embed_tokens.weight", "embed/embedding"),
    row("model.norm.weight", "final_norm/scale"),
    *linear("lm_head", "lm_head"),
)
SPARE_HEAD = (row("lm_head.weight", "embed/embedding"),)


def names(architecture: Architecture) -> Names:
    """Return the names that the LLaMA-like families share."""
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=BODY_ROWS,
        layers=(*ATTENTION_ROWS, *MLP_ROWS, *NORM_ROWS),
        spare=SPARE_HEAD if architecture.tied else (),
    )
