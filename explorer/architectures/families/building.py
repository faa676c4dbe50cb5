"""Records that several families build in the same way."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from explorer.architectures.architecture import Architecture, BlockSpec, stages_of
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families.classes import classifier_of
from explorer.architectures.families.reading import dtype_of
from explorer.architectures.specs import (
    Activation,
    EmbeddingSpec,
    LinearSpec,
    MlpSpec,
    NormSpec,
    RouterSpec,
)

__all__ = [
    "blocks_by",
    "gated_mlp",
    "grouped_attention",
    "language_model",
    "layer_norm",
    "plain_mlp",
    "router_of",
]

_T = TypeVar("_T")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length")
_MAX_EXPERTS = 1_000_000  # in all layers: each is several tensors of a checkpoint


def grouped_attention(
    size: int,
    heads: tuple[int, int, int],
    *,
    bias: bool = False,
    out_bias: bool | None = None,
    **rest: object,
) -> AttentionSpec:
    """Return grouped-query attention.

    Args:
        size: the hidden size.
        heads: the numbers of query and key-value heads and a head's size, as `heads_of`
            returns them.
        bias: whether queries, keys and values have biases; the output too, by default.
        out_bias: whether the output has a bias.
        rest: further fields of AttentionSpec; `scale` defaults to 1 / sqrt(head size).
    """
    number, kv_number, head_size = heads
    settings: dict[str, object] = {"scale": head_size**-0.5, **rest}
    return AttentionSpec(
        query=LinearSpec(size, number * head_size, bias),
        key=LinearSpec(size, kv_number * head_size, bias),
        value=LinearSpec(size, kv_number * head_size, bias),
        out=LinearSpec(number * head_size, size, bias if out_bias is None else out_bias),
        heads=number,
        kv_heads=kv_number,
        head_size=head_size,
        **settings,  # pyright: ignore[reportArgumentType]
    )


def layer_norm(size: int, eps: float) -> NormSpec:
    """Return a LayerNorm with a learned gain and bias."""
    return NormSpec(size, eps, "layer", bias=True)


def plain_mlp(size: int, inner: int, activation: Activation, bias: bool = True) -> MlpSpec:
    """Return the feed-forward network of the original transformer: down(act(up x))."""
    return MlpSpec(
        up_proj=LinearSpec(size, inner, bias),
        down_proj=LinearSpec(inner, size, bias),
        activation=activation,
    )


def gated_mlp(
    size: int, inner: int, activation: Activation, bias: bool = False, stack: int = 0
) -> MlpSpec:
    """Return the feed-forward network of LLaMA: down(act(gate x) * up x).

    With `stack`, that many networks stacked along a leading axis (experts).
    """
    return MlpSpec(
        gate_proj=LinearSpec(size, inner, bias, stack),
        up_proj=LinearSpec(size, inner, bias, stack),
        down_proj=LinearSpec(inner, size, bias, stack),
        activation=activation,
    )


def router_of(fields: ConfigFields, *names: str, **rest: object) -> RouterSpec:
    """Return the router of a mixture of experts.

    Args:
        fields: with hidden_size, num_hidden_layers and num_experts_per_tok.
        names: of the field that gives the number of experts.
        rest: further fields of RouterSpec.
    """
    experts = fields.shared_size(
        *names, most=_MAX_EXPERTS // fields.layers("num_hidden_layers")
    )
    # transformers reads the first
    either = ("num_experts_per_tok", "experts_per_token")
    per_token = fields.size(next(filter(fields.has, either), either[0]))
    if per_token > experts:
        raise fields.error(
            found=f"num_experts_per_tok {per_token} is above {names[0]} {experts}",
            expected=f"1 to {experts}",
        )
    return RouterSpec(
        size=fields.size("hidden_size"),
        experts=experts,
        per_token=per_token,
        **rest,  # pyright: ignore[reportArgumentType]
    )


def blocks_by(settings: Iterable[_T], build: Callable[[_T], BlockSpec]) -> list[BlockSpec]:
    """Return each layer's block, built once per distinct setting (window, scale).

    Layers with equal settings share one object, which later steps rely on for speed.
    """
    settings = list(settings)
    built = {setting: build(setting) for setting in dict.fromkeys(settings)}
    return [built[setting] for setting in settings]


def language_model(
    fields: ConfigFields,
    family: str,
    class_name: str,
    blocks: list[BlockSpec],
    norm: NormSpec,
    **rest: object,
) -> Architecture:
    """Return a decoder: embedding, blocks, final norm and, if the class has one, a head.

    Args:
        fields: with hidden_size, vocab_size and tie_word_embeddings.
        family: the model_type.
        class_name: a class whose name ends in "Model" has no head.
        blocks: one per layer.
        norm: the final norm.
        rest: further fields of Architecture; `tied`, the default of tie_word_embeddings;
            `head_bias`, whether the head has a bias.
    """
    size, words = fields.size("hidden_size", "n_embd"), fields.size("vocab_size")
    classifier = classifier_of(fields, class_name, size)
    settings: dict[str, Any] = classifier | rest
    tied = fields.flag("tie_word_embeddings", default=settings.pop("tied", False))
    headless = bool(classifier) or (
        class_name.endswith("Model") and not class_name.endswith("LMHeadModel")
    )
    head_bias = settings.pop("head_bias", False)
    lm_head = None if headless or tied else LinearSpec(size, words, bool(head_bias))
    return Architecture(
        family=family,
        class_name=class_name,
        size=size,
        embed=EmbeddingSpec(words, size),
        stages=stages_of(blocks),
        final_norm=norm,
        lm_head=lm_head,
        tied=tied and not headless,
        dtype=dtype_of(fields),
        positions=fields.size(*_POSITIONS, default=None),
        **settings,
    )
