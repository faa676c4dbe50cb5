"""The families from before LLaMA: what decides their numbers, and bad configs."""

import pytest

from explorer.architectures.attention_specs import RopeSpec
from explorer.architectures.declaration import declare
from explorer.architectures.families import checkpoint_names_of
from explorer.architectures.specs import EmbeddingSpec, NormSpec
from explorer.architectures.stored_tensors import stored_tensors
from explorer.errors import InputError
from tests.architectures.test_other_families import FAMILIES, published, small


def test_gpt2_settings():
    architecture = published("openai-community/gpt2-xl")
    block = next(architecture.blocks())
    assert architecture.final_norm == NormSpec(1600, 1e-5, "layer", bias=True)
    assert block.attention_norm == block.mlp_norm == architecture.final_norm
    assert (block.attention.scale, block.attention.causal) == (64**-0.5, True)
    assert block.mlp.activation == "gelu_tanh"
    assert architecture.position_embed == EmbeddingSpec(1024, 1600)
    assert architecture.tied


def test_gpt2_scales():
    def scales(**changes):
        return [b.attention.scale for b in small("gpt2", **changes).blocks()]

    assert scales() == [8**-0.5] * 3
    assert scales(scale_attn_weights=False) == [1.0] * 3
    assert scales(scale_attn_by_inverse_layer_idx=True) == [
        8**-0.5,
        8**-0.5 / 2,
        8**-0.5 / 3,
    ]
    assert next(small("gpt2", n_inner=40).blocks()).mlp.up_proj.outputs == 40


@pytest.mark.parametrize(
    ("name", "rotated", "activation"),
    [("pythia-70m", 16, "gelu"), ("gpt-neox-20b", 24, "gelu_tanh")],
)
def test_gpt_neox_settings(name, rotated, activation):
    block = next(published(f"EleutherAI/{name}").blocks())
    assert block.attention.rope == RopeSpec(rotated, 10_000.0)
    assert block.attention.causal
    assert block.parallel
    size = block.mlp.up_proj.inputs
    assert (
        block.mlp_norm == block.attention_norm == NormSpec(size, 1e-5, "layer", bias=True)
    )
    assert block.mlp.activation == activation


def test_gpt_neox_variants():
    block = next(small("gpt_neox", use_parallel_residual=False).blocks())
    assert not block.parallel
    block = next(small("gpt_neox", attention_bias=False).blocks())
    assert not block.attention.query.bias
    assert not block.attention.out.bias
    assert block.mlp.up_proj.bias
    older = small("gpt_neox", rotary_pct=0.5, rotary_emb_base=500)
    inner = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}
    newer = small("gpt_neox", rope_parameters=inner, dtype="float16")
    assert next(older.blocks()).attention.rope == RopeSpec(4, 500.0)
    assert next(newer.blocks()).attention.rope == RopeSpec(4, 500.0)
    assert (older.dtype, newer.dtype) == ("float32", "float16")


def test_bert_settings():
    architecture = published("google-bert/bert-base-uncased#pretraining")
    norm = NormSpec(768, 1e-12, "layer", bias=True)
    block = next(architecture.blocks())
    assert block.attention_sum_norm == block.mlp_sum_norm == architecture.embed_norm == norm
    assert block.attention_norm is block.mlp_norm is architecture.final_norm is None
    assert not block.attention.causal
    assert block.attention.scale == 64**-0.5
    assert block.mlp.activation == architecture.predictions.activation == "gelu"
    assert architecture.type_embed == EmbeddingSpec(2, 768)
    assert architecture.position_embed == EmbeddingSpec(512, 768)
    assert architecture.pad_token is None
    assert next(small("bert", is_decoder=True).blocks()).attention.causal


def test_a_classifier_on_bert():
    named = {str(index): f"LABEL_{index}" for index in range(5)}
    classes = ["BertForSequenceClassification"]
    architecture = small("bert", architectures=classes, id2label=named, num_labels=2)
    assert architecture.classifier.outputs == 5
    assert architecture.assumptions == (
        "a classifier of the 5 labels of id2label, as in transformers 4; num_labels is 2, "
        "which 5 reads",
    )
    assert small("bert", architectures=classes, id2label=named).assumptions == ()
    stored = stored_tensors(architecture, checkpoint_names_of(architecture))
    assert {"classifier.weight", "classifier.bias", "bert.pooler.dense.bias"} < set(stored)
    assert small("bert", architectures=classes).classifier.outputs == 2


def test_roberta_settings():
    architecture = small(
        "roberta",
        architectures=["RobertaForMaskedLM"],
        hidden_act="relu",
        pad_token_id=3,
        layer_norm_eps=1e-5,
    )
    assert architecture.position_embed == EmbeddingSpec(20, 32, 3)
    assert architecture.pad_token == 3
    assert next(architecture.blocks()).mlp.activation == "relu"
    assert architecture.predictions.activation == "gelu"
    assert architecture.embed_norm.eps == 1e-5
    assert small("roberta").pad_token == 1


def test_distilbert_settings():
    architecture = published("distilbert/distilbert-base-uncased")
    assert architecture.type_embed is architecture.pooler is None
    assert architecture.embed_norm == NormSpec(768, 1e-12, "layer", bias=True)
    assert architecture.predictions.activation == "gelu"
    assert not next(architecture.blocks()).attention.causal
    relu = small("distilbert", architectures=["DistilBertForMaskedLM"], activation="relu")
    assert relu.predictions.activation == "relu"


def test_vit_settings():
    architecture = published("google/vit-base-patch16-224")
    block = next(architecture.blocks())
    assert (
        block.attention_norm == block.mlp_norm == NormSpec(768, 1e-12, "layer", bias=True)
    )
    assert not block.attention.causal
    assert architecture.patch_embed.count == 196
    assert architecture.classifier.outputs == 1000
    assert architecture.pooler is None
    unbiased = next(small("vit", qkv_bias=False).blocks()).attention
    assert not unbiased.query.bias
    assert unbiased.out.bias
    assert small("vit", pooler_output_size=24).pooler.outputs == 24
    classes = ["ViTForImageClassification"]
    assert small("vit", architectures=classes).classifier.outputs == 2


def test_opt_settings():
    architecture = published("facebook/opt-125m")
    block = next(architecture.blocks())
    assert architecture.position_embed == EmbeddingSpec(2050, 768, 2)
    assert block.mlp.activation == "relu"
    assert block.attention_norm == NormSpec(768, 1e-5, "layer", bias=True)
    plain = small("opt", enable_bias=False, layer_norm_elementwise_affine=False)
    leaves = {leaf.path[-1] for leaf in declare(plain)}
    assert leaves == {"embedding", "kernel"}


def test_gptj_settings():
    architecture = published("EleutherAI/gpt-j-6b")
    block = next(architecture.blocks())
    assert block.attention.rope == RopeSpec(64, 10_000.0, interleaved=True)
    assert block.attention.scale == 256**-0.5
    assert block.parallel
    assert block.mlp_norm is None
    assert block.mlp.activation == "gelu_tanh"
    assert block.mlp.up_proj.bias
    assert not block.attention.query.bias
    assert architecture.lm_head.bias


# ---- bad configs

_BAD = [
    ("gpt2", {"n_embd": None}, "n_embd is missing; expected a complete gpt2 config"),
    ("gpt2", {"n_positions": None}, "n_positions is missing; expected a complete gpt2 config"),
    ("gpt2", {"n_embd": "64"}, "n_embd is '64'; expected an int"),
    ("gpt2", {"n_head": 5}, "n_embd 32 is not a multiple of n_head 5; expected n_head that divides n_embd"),
    ("gpt2", {"n_layer": 10**6}, "n_layer is 1000000; expected 1 to 10,000"),
    ("gpt2", {"n_inner": 0}, "n_inner is 0; expected 1 to 2,147,483,647"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention is True; expected false"),
    ("gpt2", {"scale_attn_weights": 1}, "scale_attn_weights is 1; expected true or false"),
    ("gpt2", {"layer_norm_epsilon": -1.0}, "layer_norm_epsilon is -1.0; expected a number above 0"),
    ("gpt2", {"architectures": ["GPT2DoubleHeadsModel"]}, "architectures is ['GPT2DoubleHeadsModel']; expected one of GPT2LMHeadModel, GPT2Model, GPT2ForSequenceClassification, GPT2ForTokenClassification, GPT2ForQuestionAnswering; without it GPT2LMHeadModel is built"),
    ("gpt2", {"num_hidden_layers": 7}, "n_layer is 3 and num_hidden_layers is 7; expected one value: they are two names of one field"),
    ("vit", {"head_dim": 12}, "head_dim is 12; expected 8, hidden_size / num_attention_heads"),
    ("gpt_neox", {"num_attention_heads": 0}, "num_attention_heads is 0; expected 1 to 2,147,483,647"),
    ("gpt_neox", {"rotary_pct": 0}, "rotary_pct is 0; expected a number above 0"),
    ("gpt_neox", {"intermediate_size": None}, "intermediate_size is missing; expected a complete gpt_neox config"),
    ("bert", {"max_position_embeddings": None}, "max_position_embeddings is missing; expected a complete bert config"),
    ("bert", {"type_vocab_size": -1}, "type_vocab_size is -1; expected 1 to 2,147,483,647"),
    ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'; expected absolute; its tables of distances are not counted"),
    ("bert", {"architectures": ["BertForSequenceClassification"], "id2label": {}}, "id2label is {}; expected a name for each label"),
    ("bert", {"architectures": ["BertForSequenceClassification"], "num_labels": 0}, "num_labels is 0; expected 1 to 2,147,483,647"),
    ("roberta", {"pad_token_id": 19}, "pad_token_id is 19; expected 0 to 18, a row of the position table"),
    ("roberta", {"pad_token_id": -1}, "pad_token_id is -1; expected 0 to 2,147,483,647"),
    ("distilbert", {"dim": 30}, "dim 30 is not a multiple of n_heads 4; expected n_heads that divides dim"),
    ("distilbert", {"hidden_dim": None}, "hidden_dim is missing; expected a complete distilbert config"),
    ("vit", {"image_size": 9}, "image_size 9 is not a multiple of patch_size 4; expected patch_size that divides image_size"),
    ("vit", {"image_size": [8, 8]}, "image_size is [8, 8]; expected an int"),
    ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before is False; expected true"),
    ("opt", {"word_embed_proj_dim": 16}, "word_embed_proj_dim is 16; expected 32, the hidden_size"),
    ("opt", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm is True; expected false"),
    ("gptj", {"rotary_dim": 16}, "rotary_dim is 16; expected an even number up to 8, a head's size"),
    ("gptj", {"rotary_dim": 3}, "rotary_dim is 3; expected an even number up to 8, a head's size"),
    ("gptj", {"tie_word_embeddings": True}, "tie_word_embeddings is True; expected false"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "changes", "message"), _BAD)
def test_an_invalid_config_raises_one_line(family, changes, message):
    with pytest.raises(InputError) as caught:
        small(family, **changes)
    assert str(caught.value) == f"config: {message}"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_an_unknown_activation_is_reported(family):
    field = {"distilbert": "activation", "gpt2": "activation_function"}.get(family)
    field = field or ("activation_function" if family in ("gptj", "opt") else "hidden_act")
    with pytest.raises(
        InputError, match=rf"^config: {field} is 'loud'; expected one of gelu, "
    ):
        small(family, **{field: "loud"})
