"""BERT, RoBERTa and DistilBERT: encoders that normalise after each branch is added.

Devlin et al. 2019, Liu et al. 2019, Sanh et al. 2019.
"""

from typing import NamedTuple

from explorer.architectures.architecture import Architecture, Block, stages_of
from explorer.architectures.families.classic import (
    equal_heads,
    labels_of,
    layer_norm,
    layer_norm_rows,
    plain_mlp,
    refuse,
)
from explorer.architectures.families.parts import (
    activation_of,
    class_of,
    dtype_of,
    grouped_attention,
)
from explorer.architectures.fields import Fields
from explorer.architectures.names import TRANSPOSED, Names, Row, linear, row
from explorer.architectures.specs import Activation, Embedding, Linear, MaskedHead, Norm

__all__ = ["names", "translate"]

# the heads of each class, by family
_HEADS = {
    "bert": {
        "BertModel": ("pooler",),
        "BertForMaskedLM": ("predictions",),
        "BertForPreTraining": ("pooler", "predictions", "relationship"),
        "BertForSequenceClassification": ("pooler", "classifier"),
    },
    "roberta": {"RobertaModel": ("pooler",), "RobertaForMaskedLM": ("predictions",)},
    "distilbert": {"DistilBertModel": (), "DistilBertForMaskedLM": ("predictions",)},
}


class _Words(NamedTuple):
    """What a family calls the fields that all of them have."""

    size: str = "hidden_size"
    heads: str = "num_attention_heads"
    inner: str = "intermediate_size"
    layers: str = "num_hidden_layers"
    activation: str = "hidden_act"


_DISTILBERT_WORDS = _Words("dim", "n_heads", "hidden_dim", "n_layers", "activation")


def translate(fields: Fields, model_type: str) -> Architecture:
    """Return the architecture of a bert, roberta or distilbert config."""
    class_name = class_of(fields, *_HEADS[model_type])
    heads = _HEADS[model_type][class_name]
    distilled = model_type == "distilbert"
    words = _DISTILBERT_WORDS if distilled else _Words()
    size, positions = fields.size(words.size), fields.size("max_position_embeddings")
    vocabulary = fields.size("vocab_size")
    eps = 1e-12 if distilled else fields.number("layer_norm_eps", default=1e-12)
    norm = layer_norm(size, eps)
    activation = activation_of(fields, words.activation, default="gelu")
    types = 0 if distilled else fields.size("type_vocab_size", default=2)
    pad = _pad_token(fields, positions) if model_type == "roberta" else None
    predicts = "predictions" in heads
    tied = predicts and fields.flag("tie_word_embeddings", default=True)
    decoder = None if tied else Linear(size, vocabulary)
    # RoBERTa's head keeps to GELU whatever its layers have
    act = "gelu" if model_type == "roberta" else activation
    block = _block(
        fields, words, norm, activation, causal=not distilled and _causal(fields)
    )
    return Architecture(
        family=model_type,
        class_name=class_name,
        size=size,
        embed=Embedding(vocabulary, size),
        position_embed=Embedding(positions, size, pad or 0),
        type_embed=Embedding(types, size) if types else None,
        embed_norm=norm,
        stages=stages_of([block] * fields.layers(words.layers)),
        predictions=_masked_head(norm, act, vocabulary, decoder) if predicts else None,
        pooler=Linear(size, size, True) if "pooler" in heads else None,
        relationship=Linear(size, 2, True) if "relationship" in heads else None,
        classifier=Linear(size, labels_of(fields), True) if "classifier" in heads else None,
        tied=tied,
        pad_token=pad,
        dtype=dtype_of(fields),
    )


def _causal(fields: Fields) -> bool:
    """Return whether a token sees only those before it; variants not built raise."""
    refuse(fields, "add_cross_attention")
    kinds = {"absolute": "absolute"}
    fields.choice(kinds, "position_embedding_type", default="absolute")
    return fields.flag("is_decoder", default=False)


def _pad_token(fields: Fields, positions: int) -> int:
    pad = fields.index("pad_token_id", default=1)
    if pad >= positions - 1:
        raise fields.wrong("pad_token_id", f"0 to {positions - 2:,}, a row of positions")
    return pad


def _block(
    fields: Fields, words: _Words, norm: Norm, activation: Activation, causal: bool
) -> Block:
    heads = equal_heads(fields, words.size, words.heads)
    return Block(
        attention=grouped_attention(norm.size, heads, bias=True, causal=causal),
        attention_sum_norm=norm,
        mlp=plain_mlp(norm.size, fields.size(words.inner), activation),
        mlp_sum_norm=norm,
    )


def _masked_head(
    norm: Norm, activation: Activation, vocabulary: int, decoder: Linear | None
) -> MaskedHead:
    return MaskedHead(
        dense=Linear(norm.size, norm.size, True),
        norm=norm,
        activation=activation,
        vocab_size=vocabulary,
        decoder=decoder,
    )


def _norm(stored: str, flax: str) -> tuple[Row, ...]:
    """Return the rows of a LayerNorm, and those of the oldest files."""
    oldest = (
        row(f"{stored}.gamma", f"{flax}/scale"),
        row(f"{stored}.beta", f"{flax}/bias"),
    )
    return (*layer_norm_rows(stored, flax), *oldest)


_LAYER_ROWS = (
    *linear("attention.self.query", "attention/query"),
    *linear("attention.self.key", "attention/key"),
    *linear("attention.self.value", "attention/value"),
    *linear("attention.output.dense", "attention/out"),
    *_norm("attention.output.LayerNorm", "attention_sum_norm"),
    *linear("intermediate.dense", "mlp/up_proj"),
    *linear("output.dense", "mlp/down_proj"),
    *_norm("output.LayerNorm", "mlp_sum_norm"),
)
_DISTILBERT_LAYER_ROWS = (
    *linear("attention.q_lin", "attention/query"),
    *linear("attention.k_lin", "attention/key"),
    *linear("attention.v_lin", "attention/value"),
    *linear("attention.out_lin", "attention/out"),
    *layer_norm_rows("sa_layer_norm", "attention_sum_norm"),
    *linear("ffn.lin1", "mlp/up_proj"),
    *linear("ffn.lin2", "mlp/down_proj"),
    *layer_norm_rows("output_layer_norm", "mlp_sum_norm"),
)
# a masked head's dense layer, norm, bias and decoder
_HEAD_NAMES = {
    "bert": (
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.bias",
        "cls.predictions.decoder",
    ),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "lm_head.decoder"),
    "distilbert": (
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector.bias",
        "vocab_projector",
    ),
}


def names(architecture: Architecture) -> Names:
    """Return how checkpoints of BERT, RoBERTa and DistilBERT name their tensors."""
    base = f"{architecture.family}."
    distilled = architecture.family == "distilbert"
    dense, norm, bias, decoder = _HEAD_NAMES[architecture.family]
    # one bias under two names; where the decoder has a table of its own, it reads its own
    both = [bias, f"{decoder}.bias"] if architecture.tied else [f"{decoder}.bias", bias]
    first, *second = (row(each, "predictions/bias") for each in dict.fromkeys(both))
    spare = (row(f"{decoder}.weight", "embed/embedding"),) if architecture.tied else ()
    return Names(
        base=base,
        layer=f"{base}{'transformer' if distilled else 'encoder'}.layer.{{i}}.",
        whole=(
            row(f"{base}embeddings.word_embeddings.weight", "embed/embedding"),
            row(f"{base}embeddings.position_embeddings.weight", "position_embed/embedding"),
            row(f"{base}embeddings.token_type_embeddings.weight", "type_embed/embedding"),
            *_norm(f"{base}embeddings.LayerNorm", "embed_norm"),
            *linear(f"{base}pooler.dense", "pooler"),
            *linear(dense, "predictions/dense"),
            *_norm(norm, "predictions/norm"),
            first,
            row(f"{decoder}.weight", "predictions/decoder/kernel", form=TRANSPOSED),
            *linear("cls.seq_relationship", "relationship"),
            *linear("classifier", "classifier"),
        ),
        layers=_DISTILBERT_LAYER_ROWS if distilled else _LAYER_ROWS,
        spare=(*spare, *second),
    )
