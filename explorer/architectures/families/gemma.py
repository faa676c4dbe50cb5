"""Gemma: LLaMA with gains stored as distances from 1 and scaled embeddings; and after it.

Gemma 2 adds norms after each branch, soft caps, and windows in every other layer; Gemma 3
norms of queries and keys in place of the caps, and a base of its own for rotary positions
inside windows. Gemma Team 2024 (1, 2), 2025 (3).
"""

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.families import llama
from explorer.architectures.families.classic import refuse
from explorer.architectures.families.llama import (
    ATTENTION_ROWS,
    BODY_ROWS,
    MLP_ROWS,
    SPARE_HEAD,
)
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    gated_mlp,
    grouped_attention,
    heads_of,
    language_model,
    patterned_windows,
)
from explorer.architectures.families.rotary import rope_of
from explorer.architectures.fields import Fields
from explorer.architectures.names import Names, row
from explorer.architectures.specs import Activation, Attention, Norm, Rope

__all__ = ["names", "translate"]

_CLASSES = {
    "gemma": ("GemmaForCausalLM", "GemmaModel"),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Model"),
    "gemma3_text": ("Gemma3ForCausalLM", "Gemma3TextModel"),
}
# what a config that is silent means, by the reference's classes
_KV_HEADS = {"gemma": 16, "gemma2": 4, "gemma3_text": 4}
_HEAD_SIZE = 256
_WINDOW = 4096
_FULL_THETA, _WINDOW_THETA = 1_000_000.0, 10_000.0


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a gemma, gemma2 or gemma3_text config."""
    class_name = class_of(fields, *_CLASSES[model_type])
    refuse(fields, "use_bidirectional_attention")
    size = fields.size("hidden_size")
    norm = Norm(size, fields.number("rms_norm_eps", default=1e-6), centred=True)
    activation = _activation(fields, model_type)
    mlp = gated_mlp(size, fields.size("intermediate_size"), activation)
    after = None if model_type == "gemma" else norm
    kinds: dict[int | None, Block] = {}
    blocks = []
    for window in _windows(fields, model_type):
        if window not in kinds:
            kinds[window] = Block(
                attention_norm=norm,
                attention=_attention(fields, model_type, norm, window),
                attention_post_norm=after,
                mlp_norm=norm,
                mlp=mlp,
                mlp_post_norm=after,
            )
        blocks.append(kinds[window])
    cap = None if model_type == "gemma" else _cap(fields, model_type, "final", 30.0)
    return language_model(
        fields,
        model_type,
        class_name,
        blocks,
        norm,
        tied=True,
        embed_scale=size**0.5,
        logit_softcap=cap,
    )


def _activation(fields: Fields, model_type: str) -> Activation:
    if model_type != "gemma":
        return activation_of(fields, "hidden_activation", default="gelu_pytorch_tanh")
    found = activation_of(fields, "hidden_act", default="gelu_pytorch_tanh")
    # the first releases say gelu and were trained with its approximation
    return "gelu_tanh" if found == "gelu" else found


def _windows(fields: Fields, model_type: str) -> list[int | None]:
    """Return how far each layer sees; None for all that came before."""
    layers = fields.layers("num_hidden_layers")
    if model_type == "gemma":
        return [None] * layers
    silent = _WINDOW if "sliding_window" not in fields.content else None
    window = fields.size("sliding_window", default=silent)
    period = 2
    if model_type == "gemma3_text":
        period = fields.size("sliding_window_pattern", default=6)
    return patterned_windows(fields, layers, window, period)


def _attention(
    fields: Fields, model_type: str, norm: Norm, window: int | None
) -> Attention:
    heads = heads_of(fields, _KV_HEADS[model_type], _HEAD_SIZE)
    bias = fields.flag("attention_bias", default=False)
    if model_type == "gemma":
        rope = rope_of(fields, heads[2])
        return grouped_attention(norm.size, heads, bias=bias, rope=rope)
    scale = fields.number("query_pre_attn_scalar", default=256.0) ** -0.5
    if model_type == "gemma2":
        return grouped_attention(
            norm.size,
            heads,
            bias=bias,
            scale=scale,
            rope=rope_of(fields, heads[2]),
            window=window,
            softcap=_cap(fields, model_type, "attn", 50.0),
        )
    own = Norm(heads[2], norm.eps, centred=True)  # over one head
    return grouped_attention(
        norm.size,
        heads,
        bias=bias,
        scale=scale,
        query_norm=own,
        key_norm=own,
        rope=_rope_by_kind(fields, heads[2], window),
        window=window,
    )


def _cap(fields: Fields, model_type: str, which: str, silent: float) -> float | None:
    """Return a soft cap; null says none, and Gemma 3 has none unless it says so."""
    name = f"{which}_logit_softcapping"
    speaks = model_type == "gemma3_text" or name in fields.content
    return fields.number(name, default=None if speaks else silent)


def _rope_by_kind(fields: Fields, head_size: int, window: int | None) -> Rope:
    """Return the rotary positions of layers with or without a window.

    The older spelling scales only layers without one; the newer keeps an object a kind.
    """
    kind = "full_attention" if window is None else "sliding_attention"
    theta = (
        fields.number("rope_theta", default=_FULL_THETA)
        if window is None
        else fields.number("rope_local_base_freq", default=_WINDOW_THETA)
    )
    both = fields.inner("rope_parameters")
    own = both.inner(kind) if both else None
    scaling = fields.inner("rope_scaling") if window is None else None
    content, prefix = {"rope_theta": theta}, ""
    for given in (own, scaling):
        if given is not None:
            content, prefix = content | dict(given.content), given.prefix
    return rope_of(fields, head_size, scaling=Fields(content, fields.place, prefix))


_LAYER_ROWS = (
    *ATTENTION_ROWS,
    *MLP_ROWS,
    row("input_layernorm.weight", "attention_norm/scale"),
    row("post_attention_layernorm.weight", "attention_post_norm/scale"),
    row("pre_feedforward_layernorm.weight", "mlp_norm/scale"),
    row("post_feedforward_layernorm.weight", "mlp_post_norm/scale"),
)


def names(architecture: Architecture) -> Names:
    """Return the names of a family's checkpoints; the first Gemma's are LLaMA's."""
    if architecture.family == "gemma":
        return llama.names(architecture)
    return Names(
        base="model.",
        layer="model.layers.{i}.",
        whole=BODY_ROWS,
        layers=_LAYER_ROWS,
        spare=SPARE_HEAD if architecture.tied else (),
    )
