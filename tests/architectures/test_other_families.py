"""The families from before LLaMA: published counts and the names of checkpoints."""

from collections import Counter
from math import prod

import pytest

from explorer.architectures.declaration import declare
from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import (
    alias_tensors,
    names_are_bare,
    stored_tensors,
)
from tests.facts import listing, models
from tests.roles.test_published import breakdown

FAMILIES = {"bert", "distilbert", "gpt2", "gpt_neox", "gptj", "opt", "roberta", "vit"}
_ENTRIES = {m["id"]: m for m in models() if m["config"].get("model_type") in FAMILIES}
# classes counted that are not those of the config
_CLASSES = {
    "google-bert/bert-base-uncased": "BertModel",
    "google-bert/bert-base-uncased#pretraining": "BertForPreTraining",
}

_WORDS = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 20,
}
_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 20, "vocab_size": 60}
_DISTILBERT = {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48}
_SMALL = {
    "bert": _WORDS,
    "roberta": _WORDS,
    "distilbert": _DISTILBERT | {"vocab_size": 60, "max_position_embeddings": 20},
    "gpt2": _GPT,
    "gptj": _GPT | {"rotary_dim": 4},
    "gpt_neox": _WORDS,
    "opt": _WORDS | {"ffn_dim": 48},
    "vit": _WORDS | {"image_size": 8, "patch_size": 4},
}


def small(family, **changes):
    """Return the architecture of a small model; None removes a field."""
    config = {"model_type": family} | _SMALL[family] | changes
    return architecture_of({k: v for k, v in config.items() if v is not None})


def published(name):
    """Return the architecture of a published model as the class that was counted."""
    config = _ENTRIES[name]["config"]
    named = [_CLASSES[name]] if name in _CLASSES else config["architectures"]
    return architecture_of(config | {"architectures": named}, name)


def count(architecture):
    return sum(prod(leaf.shape) for leaf in declare(architecture))


# ---- published counts and names


@pytest.mark.parametrize("name", _ENTRIES)
def test_published_counts(name):
    architecture = published(name)
    assert architecture.family == _ENTRIES[name]["config"]["model_type"]
    counts = breakdown((leaf.path, leaf.shape) for leaf in declare(architecture))
    assert counts == Counter(_ENTRIES[name]["breakdown"])
    assert counts.total() == _ENTRIES[name]["total_parameters"]


@pytest.mark.parametrize("name", _ENTRIES)
def test_published_names_and_shapes(name):
    architecture, facts = published(name), listing(name)
    names = checkpoint_names_of(architecture)
    bare = architecture.class_name.endswith("Model") and not architecture.tied
    stored = stored_tensors(architecture, names, bare)
    spare = alias_tensors(architecture, names, bare)
    again = {name for group in facts["tied"] for name in group[1:]}
    shapes = {name: tuple(shape) for name, shape in facts["tensors"].items()}
    assert {n: t.shape for n, t in stored.items()} == {
        n: s for n, s in shapes.items() if n not in again
    }
    assert {n: spare[n].shape for n in again} == {n: shapes[n] for n in again}
    held = Counter(path for tensor in stored.values() for path in tensor.leaves)
    assert held == Counter(leaf.path for leaf in declare(architecture))


@pytest.mark.parametrize("name", ["openai-community/gpt2", "openai-community/gpt2-xl"])
def test_the_published_file_of_gpt2_leaves_the_prefix_out(name):
    architecture, file = published(name), listing(name, ondisk=True)["tensors"]
    names = checkpoint_names_of(architecture)
    stored = stored_tensors(
        architecture, names, names_are_bare(architecture, names, file, False)
    )
    masks = {f"h.{index}.attn.bias" for index in range(architecture.num_layers)}
    assert {n: list(t.shape) for n, t in stored.items()} == {
        n: shape for n, (shape, _) in file.items() if n not in masks
    }


_FURTHER = [
    ("bert", (1024, 24, 16, 4096, 30522, 512), 335_141_888),  # bert-large-uncased
    ("roberta", (768, 12, 12, 3072, 50265, 514), 124_645_632 + 768),  # one more type
    ("opt", (2048, 24, 32, 8192, 50272, 2048), 1_315_758_080),  # opt-1.3b
    ("gpt2", (1280, 36, 20, 5120, 50257, 1024), 774_030_080),  # gpt2-large
]
_SIZES = {
    "bert": tuple(_WORDS),
    "roberta": tuple(_WORDS),
    "opt": tuple(n if n != "intermediate_size" else "ffn_dim" for n in _WORDS),
    "gpt2": ("n_embd", "n_layer", "n_head", "n_inner", "vocab_size", "n_positions"),
}


@pytest.mark.parametrize(("family", "sizes", "total"), _FURTHER)
def test_counts_of_further_sizes(family, sizes, total):
    changes = dict(zip(_SIZES[family], sizes, strict=True))
    assert count(small(family, **changes)) == total


def test_roberta_names():
    plain, masked = small("roberta"), small("roberta", architectures=["RobertaForMaskedLM"])
    bodies = {
        each.class_name: stored_tensors(each, checkpoint_names_of(each), bare)
        for each, bare in ((plain, True), (masked, False))
    }
    assert "encoder.layer.2.attention.self.key.bias" in bodies["RobertaModel"]
    assert "pooler.dense.weight" in bodies["RobertaModel"]
    assert bodies["RobertaForMaskedLM"]["roberta.embeddings.LayerNorm.bias"].shape == (32,)
    head = [n for n in bodies["RobertaForMaskedLM"] if n.startswith("lm_head")]
    assert head == [
        "lm_head.dense.weight",
        "lm_head.dense.bias",
        "lm_head.layer_norm.weight",
        "lm_head.layer_norm.bias",
        "lm_head.bias",
    ]
    spare = alias_tensors(masked, checkpoint_names_of(masked))
    assert {n: t.shape for n, t in spare.items()} == {
        "lm_head.decoder.weight": (60, 32),
        "lm_head.decoder.bias": (60,),
    }


# ---- names that a checkpoint chooses


def test_the_oldest_norms_of_bert_are_read_where_they_are_present():
    architecture = small("bert")
    names = checkpoint_names_of(architecture)
    old = {f"encoder.layer.1.output.LayerNorm.{leaf}" for leaf in ("gamma", "beta")}
    stored = stored_tensors(architecture, names, True, old)
    assert old < stored.keys()
    assert stored["encoder.layer.1.output.LayerNorm.gamma"].leaves == (
        ("layers_1", "mlp_sum_norm", "scale"),
    )
    assert "encoder.layer.1.output.LayerNorm.weight" not in stored
    assert "encoder.layer.0.output.LayerNorm.weight" in stored
    assert len(stored) == len(stored_tensors(architecture, names, True))


def test_a_head_of_gpt_neox_is_read_under_either_name():
    architecture = small("gpt_neox")
    names = checkpoint_names_of(architecture)
    assert "embed_out.weight" in stored_tensors(architecture, names)
    stored = stored_tensors(architecture, names, present={"lm_head.weight"})
    assert stored["lm_head.weight"].leaves == (("lm_head", "kernel"),)
    assert "embed_out.weight" not in stored


@pytest.mark.parametrize(
    ("family", "class_name", "head"),
    [
        ("bert", "BertForMaskedLM", "cls.predictions.decoder"),
        ("roberta", "RobertaForMaskedLM", "lm_head.decoder"),
        ("distilbert", "DistilBertForMaskedLM", "vocab_projector"),
    ],
)
def test_a_masked_head_with_a_table_of_its_own(family, class_name, head):
    tied = small(family, architectures=[class_name])
    own = small(family, architectures=[class_name], tie_word_embeddings=False)
    assert (tied.tied, own.tied) == (True, False)
    assert count(own) - count(tied) == 60 * 32
    stored = stored_tensors(own, checkpoint_names_of(own))
    assert stored[f"{head}.weight"].leaves == (("predictions", "decoder", "kernel"),)
    assert stored[f"{head}.bias"].leaves == (("predictions", "bias"),)
    assert f"{head}.weight" not in alias_tensors(own, checkpoint_names_of(own))


def test_heads_of_language_models_with_a_table_of_their_own():
    for family, name in (("gpt2", "lm_head.weight"), ("opt", "lm_head.weight")):
        own = small(family, tie_word_embeddings=False)
        assert stored_tensors(own, checkpoint_names_of(own))[name].shape == (60, 32)
        assert not alias_tensors(own, checkpoint_names_of(own))
    tied = small("gpt_neox", tie_word_embeddings=True)
    assert "embed_out.weight" not in stored_tensors(tied, checkpoint_names_of(tied))
    assert set(alias_tensors(tied, checkpoint_names_of(tied))) == {
        "embed_out.weight",
        "lm_head.weight",
    }


@pytest.mark.parametrize(
    ("family", "class_name", "name"),
    [
        ("gpt2", "GPT2Model", "h.2.attn.c_attn.weight"),
        ("gptj", "GPTJModel", "h.2.attn.q_proj.weight"),
        ("gpt_neox", "GPTNeoXModel", "layers.2.attention.query_key_value.bias"),
        ("opt", "OPTModel", "decoder.layers.2.fc1.weight"),
        ("bert", "BertModel", "encoder.layer.2.intermediate.dense.bias"),
        ("distilbert", "DistilBertModel", "transformer.layer.2.ffn.lin2.weight"),
        ("vit", "ViTModel", "encoder.layer.2.layernorm_before.weight"),
    ],
)
def test_a_bare_body_has_neither_prefix_nor_head(family, class_name, name):
    body = small(family, architectures=[class_name])
    assert body.class_name == class_name
    assert body.lm_head is body.predictions is body.classifier is None
    assert not body.tied
    stored = stored_tensors(body, checkpoint_names_of(body), bare=True)
    assert name in stored
    prefix = checkpoint_names_of(body).base_prefix
    assert f"{prefix}{name}" in stored_tensors(body, checkpoint_names_of(body))
    assert not alias_tensors(body, checkpoint_names_of(body), bare=True)


@pytest.mark.parametrize(
    ("family", "class_name"),
    [
        ("gpt2", "GPT2LMHeadModel"),
        ("gptj", "GPTJForCausalLM"),
        ("gpt_neox", "GPTNeoXForCausalLM"),
        ("opt", "OPTForCausalLM"),
        ("bert", "BertModel"),
        ("roberta", "RobertaModel"),
        ("distilbert", "DistilBertModel"),
        ("vit", "ViTModel"),
    ],
)
def test_the_class_of_a_config_that_names_none(family, class_name):
    assert small(family).class_name == class_name


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_equal_layers_are_one_record(family):
    architecture = small(family)
    assert len({id(block) for block in architecture.blocks()}) == 1
    assert [stage.repeats for stage in architecture.stages] == [3]
