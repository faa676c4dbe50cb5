"""Configs whose modelling code is elsewhere: assumed, with the class named, or verified."""

from pathlib import Path

import pytest

import explorer as ex
from explorer.architectures.own_code import own_code_of
from tests.architectures.test_resolve import TINY
from tests.checkpoints import write_folder

# MosaicBERT's config, as in the docstring of mosaicml/examples (2023): of BERT's sizes and
# class name, built by code of its own with ALiBi and gated layers (137,395,770 parameters)
MOSAIC = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "auto_map": {"AutoModelForMaskedLM": "bert_layers.BertForMaskedLM"},
    "alibi_starting_size": 512,
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "vocab_size": 30522,
}


def _known(config: dict) -> str:
    return ex.ledger(config).provenance["parameters"]


def test_code_that_auto_map_names_is_never_exact():
    ledger = ex.ledger(MOSAIC)
    assumed = (
        "auto_map names bert_layers.BertForMaskedLM, which explorer does not read: counted "
        "as transformers' BertForMaskedLM"
    )
    assert ledger.provenance["parameters"] == f"assumed ({assumed})"
    assert assumed in ledger.notes
    assert ledger.provenance["tensors"] == "assumed (as parameters)"
    assert ledger.provenance["biases"].startswith("assumed (as parameters")
    assert "exact" not in ledger.provenance.values()
    # the same sizes without that code are BERT's, whose count is published
    plain = {name: value for name, value in MOSAIC.items() if name != "auto_map"}
    assert ex.ledger(plain).parameters == 109_514_298
    assert _known(plain) == "exact"


def test_weights_of_other_code_are_not_checked_against_the_family(tmp_path: Path):
    size, inner = 768, 3072
    layout = {
        "bert.embeddings.word_embeddings.weight": ((30522, size), "F32"),
        "bert.encoder.layer.0.attention.self.Wqkv.weight": ((3 * size, size), "F32"),
        "bert.encoder.layer.0.mlp.gated_layers.weight": ((2 * inner, size), "F32"),
    }
    ledger = ex.ledger(write_folder(tmp_path / "mosaic", layout, MOSAIC))
    assert ledger.parameters == 30522 * size + 3 * size * size + 2 * inner * size
    assert ledger.agreement is None
    assert any(
        note.startswith("not checked against its config: auto_map names bert_layers.Bert")
        for note in ledger.notes
    )


@pytest.mark.parametrize(
    "name", ["phi-3-mini", "deepseek-v2-lite", "deepseek-v3", "kimi-k2"]
)
def test_code_whose_counts_are_published_is_verified(name: str):
    from explorer.architectures.catalog.entries import CatalogEntry, find

    entry = find(name)
    assert isinstance(entry, CatalogEntry)
    config = entry.config | {"torch_dtype": "float16", "rope_theta": 5e5}
    assert own_code_of(config)
    assert not _known(config).startswith("assumed")
    assert ex.explore(config).num_parameters == entry.parameters
    # of other sizes, from another repository or from another file it is not
    fewer = config | {"vocab_size": 1000}
    assert _known(fewer).startswith("assumed (auto_map names modeling_")
    for other in ("someone/model--", "my_"):
        named = {kind: other + code for kind, code in config["auto_map"].items()}
        assert _known(config | {"auto_map": named}).startswith("assumed (auto_map names ")
    named = {kind: f"{entry.id}--{code}" for kind, code in config["auto_map"].items()}
    assert not _known(config | {"auto_map": named}).startswith("assumed")


@pytest.mark.parametrize(
    ("auto_map", "code"),
    [
        (None, ""),
        ("modeling.Model", ""),
        ({"AutoTokenizer": ["tokens.Slow", None], "AutoProcessor": "p.P"}, ""),
        ({"AutoConfig": "configuration_x.Config"}, "configuration_x.Config"),
        ({"AutoModel": "m.Body", "AutoModelForCausalLM": "m.LlamaForCausalLM"}, "m.LlamaForCausalLM"),
        ({"AutoConfig": "c.C", "AutoModelForSequenceClassification": "m.Reward"}, "m.Reward"),
        ({"AutoModel": None}, ""),
    ],
)  # fmt: skip
def test_the_class_of_an_auto_map(auto_map, code: str):
    config = TINY | {"auto_map": auto_map, "architectures": ["LlamaForCausalLM"]}
    assert own_code_of(config) == code
    assert _known(config) == (
        f"assumed (auto_map names {code}, which explorer does not read: counted as "
        "transformers' LlamaForCausalLM)"
        if code
        else "exact"
    )


@pytest.mark.parametrize(
    ("model_type", "name", "stand_in"),
    [
        ("gpt2", "GPT2LMHeadCustomModel", "GPT2LMHeadModel"),  # SantaCoder
        ("bert", "JinaBertForMaskedLM", "BertForMaskedLM"),
        ("bert", "NomicBertModel", "BertModel"),
        ("llama", "LlamaForCausalLMEagle", "LlamaForCausalLM"),
        ("llama", "MyForSequenceClassification", "LlamaForSequenceClassification"),
        ("qwen2", "Qwen2ForRewardModel", "Qwen2ForCausalLM"),
    ],
)
def test_a_class_that_the_family_lacks_is_assumed_to_be_like_one_it_has(
    model_type: str, name: str, stand_in: str
):
    from tests.conformance.counts import BASES

    config = BASES[model_type] | {"architectures": [name]}
    ledger = ex.ledger(config)
    assert ledger.provenance["parameters"] == (
        f"assumed ({name} is not one of the {model_type} classes: counted as {stand_in}, its own "
        "code may differ)"
    )
    same = ex.ledger(config | {"architectures": [stand_in]})
    assert ledger.parameters == same.parameters
    assert same.provenance["parameters"] == "exact"
