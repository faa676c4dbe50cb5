"""Gemma: LLaMA with scaled embeddings and with gains stored as their difference from 1.

Gemma 2 adds norms after each branch, soft caps, and windows in every other layer. Gemma 3
replaces the caps by norms of queries and keys, and has a separate rotary base in layers
with a window. Gemma Team 2024 (1, 2), 2025 (3).
"""

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import AttentionSpec, RopeSpec
from explorer.architectures.checkpoint_names import CheckpointNames, row
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, llama, naming, reading
from explorer.architectures.families.classes import decoder_classes
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.specs import Activation, NormSpec

__all__ = ["checkpoint_names", "translate"]

# the default of each reference class
_KV_HEADS = {"gemma": 16, "gemma2": 4, "gemma3_text": 4}
_HEAD_SIZE = 256
_WINDOW = 4096
_FULL_THETA, _WINDOW_THETA = 1_000_000.0, 10_000.0


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a gemma, gemma2 or gemma3_text config."""
    class_name = reading.class_of(fields, *decoder_classes(model_type))
    if fields.flag("use_bidirectional_attention", default=False):
        fields.not_built("use_bidirectional_attention", "false")
    size = fields.size("hidden_size")
    norm = NormSpec(size, fields.number("rms_norm_eps", default=1e-6), centred=True)
    activation = _activation(fields, model_type)
    mlp = building.gated_mlp(size, fields.size("intermediate_size"), activation)
    post_norm = None if model_type == "gemma" else norm

    def block(window: int | None) -> BlockSpec:
        return BlockSpec(
            attention_norm=norm,
            attention=_attention(fields, model_type, norm, window),
            attention_post_norm=post_norm,
            mlp_norm=norm,
            mlp=mlp,
            mlp_post_norm=post_norm,
        )

    cap = None if model_type == "gemma" else _cap(fields, model_type, "final", 30.0)
    return building.language_model(
        fields,
        model_type,
        class_name,
        building.blocks_by(_windows(fields, model_type), block),
        norm,
        tied=True,
        embed_scale=size**0.5,
        logit_softcap=cap,
    )


def _activation(fields: ConfigFields, model_type: str) -> Activation:
    if model_type != "gemma":
        return reading.activation_of(
            fields, "hidden_activation", default="gelu_pytorch_tanh"
        )
    found = reading.activation_of(fields, "hidden_act", default="gelu_pytorch_tanh")
    # configs of the first releases say gelu; the models were trained with its approximation
    return "gelu_tanh" if found == "gelu" else found


def _windows(fields: ConfigFields, model_type: str) -> list[int | None]:
    """Return each layer's window; None for full attention."""
    layers = fields.layers("num_hidden_layers")
    if model_type == "gemma":
        return [None] * layers
    unset = _WINDOW if "sliding_window" not in fields.content else None
    window = fields.size("sliding_window", default=unset)
    period = 2
    if model_type == "gemma3_text":
        period = fields.size("sliding_window_pattern", default=6)
    return reading.windows_by_period(fields, layers, window, period)


def _attention(
    fields: ConfigFields, model_type: str, norm: NormSpec, window: int | None
) -> AttentionSpec:
    heads = reading.heads_of(fields, _KV_HEADS[model_type], _HEAD_SIZE)
    bias = fields.flag("attention_bias", default=False)
    if model_type == "gemma":
        rope = rope_of(fields, heads[2])
        return building.grouped_attention(norm.size, heads, bias=bias, rope=rope)
    scale = fields.number("query_pre_attn_scalar", default=256.0) ** -0.5
    if model_type == "gemma2":
        return building.grouped_attention(
            norm.size,
            heads,
            bias=bias,
            scale=scale,
            rope=rope_of(fields, heads[2]),
            window=window,
            softcap=_cap(fields, model_type, "attn", 50.0),
        )
    head_norm = NormSpec(heads[2], norm.eps, centred=True)
    return building.grouped_attention(
        norm.size,
        heads,
        bias=bias,
        scale=scale,
        query_norm=head_norm,
        key_norm=head_norm,
        rope=_rope_by_kind(fields, heads[2], window),
        window=window,
    )


def _cap(fields: ConfigFields, model_type: str, which: str, unset: float) -> float | None:
    """Return a soft cap: none if null, `unset` if absent except in Gemma 3."""
    name = f"{which}_logit_softcapping"
    explicit = model_type == "gemma3_text" or name in fields.content
    return fields.number(name, default=None if explicit else unset)


def _rope_by_kind(fields: ConfigFields, head_size: int, window: int | None) -> RopeSpec:
    """Return the rotary positions of layers with or without a window.

    The older spelling scales only layers without one; the newer has one object per kind.
    """
    kind = "full_attention" if window is None else "sliding_attention"
    theta = (
        fields.number("rope_theta", default=_FULL_THETA)
        if window is None
        else fields.number("rope_local_base_freq", default=_WINDOW_THETA)
    )
    both = fields.nested("rope_parameters")
    own = both.nested(kind) if both else None
    scaling = fields.nested("rope_scaling") if window is None else None
    content, prefix = {"rope_theta": theta}, ""
    for given in (own, scaling):
        if given is not None:
            content, prefix = content | dict(given.content), given.prefix
    return rope_of(fields, head_size, scaling=fields.inner(content, prefix))


_LAYER_ROWS = (
    *naming.ATTENTION_ROWS,
    *naming.MLP_ROWS,
    row("input_layernorm.weight", "attention_norm/scale"),
    row("post_attention_layernorm.weight", "attention_post_norm/scale"),
    row("pre_feedforward_layernorm.weight", "mlp_norm/scale"),
    row("post_feedforward_layernorm.weight", "mlp_post_norm/scale"),
)


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of a family's checkpoints; the first Gemma's are LLaMA's."""
    if architecture.family == "gemma":
        return llama.checkpoint_names(architecture)
    return naming.llama_names(architecture, *_LAYER_ROWS)
