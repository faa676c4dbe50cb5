"""BERT, RoBERTa and DistilBERT: encoders that normalise after each residual addition.

Devlin et al. 2019, Liu et al. 2019, Sanh et al. 2019.
"""

from typing import NamedTuple

from explorer.architectures.architecture import Architecture, BlockSpec, stages_of
from explorer.architectures.checkpoint_names import (
    CheckpointNames,
    NameRow,
    layer_norm_rows,
    linear_rows,
    row,
)
from explorer.architectures.config_fields import ConfigFields
from explorer.architectures.families import building, naming, reading
from explorer.architectures.specs import (
    Activation,
    EmbeddingSpec,
    LinearSpec,
    MaskedHeadSpec,
    NormSpec,
)
from explorer.architectures.tensor_layout import TRANSPOSED

__all__ = ["checkpoint_names", "translate"]

# the heads of each class, by family
_HEADS = {
    "bert": {
        "BertModel": ("pooler",),
        "BertForMaskedLM": ("predictions",),
        "BertForPreTraining": ("pooler", "predictions", "relationship"),
        "BertForSequenceClassification": ("pooler", "classifier"),
        "BertForTokenClassification": ("classifier",),
        "BertForQuestionAnswering": ("classifier",),
        "BertForMultipleChoice": ("pooler", "classifier"),
        "BertForNextSentencePrediction": ("pooler", "relationship"),
        "BertLMHeadModel": ("predictions",),
    },
    "roberta": {
        "RobertaModel": ("pooler",),
        "RobertaForMaskedLM": ("predictions",),
        "RobertaForCausalLM": ("predictions",),
        # its classifier's first layer works as a pooler does
        "RobertaForSequenceClassification": ("pooler", "classifier"),
        "RobertaForTokenClassification": ("classifier",),
        "RobertaForQuestionAnswering": ("classifier",),
        "RobertaForMultipleChoice": ("pooler", "classifier"),
    },
    "distilbert": {
        "DistilBertModel": (),
        "DistilBertForMaskedLM": ("predictions",),
        "DistilBertForSequenceClassification": ("pooler", "classifier"),
        "DistilBertForTokenClassification": ("classifier",),
        "DistilBertForQuestionAnswering": ("classifier",),
        "DistilBertForMultipleChoice": ("pooler", "classifier"),
    },
}
_BUILT_CLASSIFIERS = ("BertForSequenceClassification", "RobertaForSequenceClassification")


class _FieldNames(NamedTuple):
    """The names of fields that every family has under some name."""

    size: tuple[str, ...] = ("hidden_size",)
    heads: tuple[str, ...] = ("num_attention_heads",)
    inner: str = "intermediate_size"
    layers: tuple[str, ...] = ("num_hidden_layers",)
    activation: str = "hidden_act"


_DISTILBERT_FIELDS = _FieldNames(
    ("dim", "hidden_size"),
    ("n_heads", "num_attention_heads"),
    "hidden_dim",
    ("n_layers", "num_hidden_layers"),
    "activation",
)


def translate(fields: ConfigFields, model_type: str) -> Architecture:
    """Return the architecture of a bert, roberta or distilbert config."""
    class_name = reading.class_of(fields, *_HEADS[model_type])
    heads = _HEADS[model_type][class_name]
    distilled = model_type == "distilbert"
    named = _DISTILBERT_FIELDS if distilled else _FieldNames()
    size, positions = (
        fields.shared_size(*named.size),
        fields.size("max_position_embeddings"),
    )
    vocabulary = fields.size("vocab_size")
    eps = 1e-12 if distilled else fields.number("layer_norm_eps", default=1e-12)
    norm = building.layer_norm(size, eps)
    activation = reading.activation_of(fields, named.activation, default="gelu")
    types = 0 if distilled else fields.size("type_vocab_size", default=2)
    pad = _pad_token(fields, positions) if model_type == "roberta" else None
    predicts = "predictions" in heads
    tied = predicts and fields.flag("tie_word_embeddings", default=True)
    if predicts and not tied and not distilled:
        fields.assume(
            "the untied head has one bias, as in transformers 4; in 5 it has another, unused"
        )
    decoder = None if tied else LinearSpec(size, vocabulary)
    # RoBERTa's head uses GELU whatever its layers use
    act = "gelu" if model_type == "roberta" else activation
    block = _block(
        fields, named, norm, activation, causal=not distilled and _causal(fields)
    )
    return Architecture(
        family=model_type,
        class_name=class_name,
        size=size,
        embed=EmbeddingSpec(vocabulary, size),
        position_embed=EmbeddingSpec(positions, size, pad or 0),
        type_embed=EmbeddingSpec(types, size) if types else None,
        embed_norm=norm,
        stages=stages_of([block] * fields.layers(*named.layers)),
        predictions=_masked_head(norm, act, vocabulary, decoder) if predicts else None,
        pooler=LinearSpec(size, size, True) if "pooler" in heads else None,
        relationship=LinearSpec(size, 2, True) if "relationship" in heads else None,
        classifier=_classifier(fields, class_name, size) if "classifier" in heads else None,
        tied=tied,
        pad_token=pad,
        dtype=reading.dtype_of(fields),
        # RoBERTa counts positions from the row after that of padding
        positions=positions if pad is None else positions - pad - 1,
    )


def _classifier(fields: ConfigFields, class_name: str, size: int) -> LinearSpec:
    """Return a classifier; only those of whole sequences are built."""
    if class_name not in _BUILT_CLASSIFIERS:
        fields.remarks.unbuilt.append("its classifier is only counted")
    if class_name.endswith("ForMultipleChoice"):
        return LinearSpec(size, 1, True)
    return LinearSpec(size, reading.labels_of(fields), True)


def _causal(fields: ConfigFields) -> bool:
    """Return whether attention is causal; raise for unsupported variants."""
    reading.reject(fields, "add_cross_attention")
    name = "position_embedding_type"
    kind = fields.content.get(name)
    if kind in ("relative_key", "relative_key_query"):
        raise fields.invalid(name, "absolute", "its tables of distances are not counted")
    if kind not in (None, "absolute"):  # the table of positions is there all the same
        fields.not_built(name, "absolute")
    return fields.flag("is_decoder", default=False)


def _pad_token(fields: ConfigFields, positions: int) -> int:
    pad = fields.index("pad_token_id", default=1)
    if pad >= positions - 1:
        raise fields.invalid(
            "pad_token_id", f"0 to {positions - 2:,}, a row of the position table"
        )
    return pad


def _block(
    fields: ConfigFields,
    named: _FieldNames,
    norm: NormSpec,
    activation: Activation,
    causal: bool,
) -> BlockSpec:
    heads = reading.equal_heads(fields, named.size, named.heads)
    return BlockSpec(
        attention=building.grouped_attention(norm.size, heads, bias=True, causal=causal),
        attention_sum_norm=norm,
        mlp=building.plain_mlp(norm.size, fields.size(named.inner), activation),
        mlp_sum_norm=norm,
    )


def _masked_head(
    norm: NormSpec, activation: Activation, vocabulary: int, decoder: LinearSpec | None
) -> MaskedHeadSpec:
    return MaskedHeadSpec(
        dense=LinearSpec(norm.size, norm.size, True),
        norm=norm,
        activation=activation,
        vocab_size=vocabulary,
        decoder=decoder,
    )


def _norm(stored: str, flax: str) -> tuple[NameRow, ...]:
    """Return the rows of a LayerNorm, and its names in the oldest files."""
    oldest = (
        row(f"{stored}.gamma", f"{flax}/scale"),
        row(f"{stored}.beta", f"{flax}/bias"),
    )
    return (*layer_norm_rows(stored, flax), *oldest)


_LAYER_ROWS = (
    *linear_rows("attention.self.query", "attention/query"),
    *linear_rows("attention.self.key", "attention/key"),
    *linear_rows("attention.self.value", "attention/value"),
    *linear_rows("attention.output.dense", "attention/out"),
    *_norm("attention.output.LayerNorm", "attention_sum_norm"),
    *linear_rows("intermediate.dense", "mlp/up_proj"),
    *linear_rows("output.dense", "mlp/down_proj"),
    *_norm("output.LayerNorm", "mlp_sum_norm"),
)
_DISTILBERT_LAYER_ROWS = (
    *linear_rows("attention.q_lin", "attention/query"),
    *linear_rows("attention.k_lin", "attention/key"),
    *linear_rows("attention.v_lin", "attention/value"),
    *linear_rows("attention.out_lin", "attention/out"),
    *layer_norm_rows("sa_layer_norm", "attention_sum_norm"),
    *linear_rows("ffn.lin1", "mlp/up_proj"),
    *linear_rows("ffn.lin2", "mlp/down_proj"),
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


def checkpoint_names(architecture: Architecture) -> CheckpointNames:
    """Return the names of BERT's, RoBERTa's and DistilBERT's checkpoints."""
    base = f"{architecture.family}."
    distilled = architecture.family == "distilbert"
    pooler, classifier = f"{base}pooler.dense", "classifier"
    if architecture.class_name == "RobertaForSequenceClassification":
        pooler, classifier = "classifier.dense", "classifier.out_proj"
    elif architecture.class_name.endswith("ForQuestionAnswering"):
        classifier = "qa_outputs"
    if distilled:
        pooler = "pre_classifier"
    dense, norm, bias, decoder = _HEAD_NAMES[architecture.family]
    # one bias under two names; an untied decoder's own comes first
    both = [bias, f"{decoder}.bias"] if architecture.tied else [f"{decoder}.bias", bias]
    first, *second = (row(each, "predictions/bias") for each in dict.fromkeys(both))
    tied = naming.tied_head(architecture, f"{decoder}.weight")
    return CheckpointNames(
        base_prefix=base,
        layer_prefix=f"{base}{'transformer' if distilled else 'encoder'}.layer.{{i}}.",
        top_level=(
            row(f"{base}embeddings.word_embeddings.weight", "embed/embedding"),
            row(f"{base}embeddings.position_embeddings.weight", "position_embed/embedding"),
            row(f"{base}embeddings.token_type_embeddings.weight", "type_embed/embedding"),
            *_norm(f"{base}embeddings.LayerNorm", "embed_norm"),
            *linear_rows(pooler, "pooler"),
            *linear_rows(dense, "predictions/dense"),
            *_norm(norm, "predictions/norm"),
            first,
            row(f"{decoder}.weight", "predictions/decoder/kernel", layout=TRANSPOSED),
            *linear_rows("cls.seq_relationship", "relationship"),
            *linear_rows(classifier, "classifier"),
        ),
        layers=_DISTILBERT_LAYER_ROWS if distilled else _LAYER_ROWS,
        aliases=(*tied, *second),
    )
