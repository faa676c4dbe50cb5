"""Counts of every class and every setting equal those of transformers, or refuse loudly.

tests/conformance/counts.py builds the reference models and writes tests/data/reference.
"""

import gzip
import json
import re

import pytest

import explorer as ex
from explorer.architectures.checkpoint_fit import is_bare
from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import stored_tensors
from explorer.errors import InputError
from tests.conformance.counts import BASES, FOLDER, LABELS, changed


def _reference(name: str) -> dict:
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


_CLASSES = [
    (model_type, name, counted)
    for model_type, classes in _reference("classes").items()
    for name, counted in classes.items()
]
# classes that hold more than explorer's records describe
_REFUSED = {
    "GPT2DoubleHeadsModel",
    "Gemma3ForSequenceClassification",
    "ViTForMaskedImageModeling",
}
# settings that change what is counted, or that releases disagree about: each is refused
_REFUSED_SETTINGS = {
    "_remove_final_layer_norm=true",  # OPT
    "add_cross_attention=true",
    "do_layer_norm_before=false",  # OPT-350M
    "head_dim=12",  # OLMoE, ViT
    "head_dim=16",
    "hidden_act=\"prelu\"",
    "max_position_embeddings=30",  # GPT-2's n_positions under another name
    "max_position_embeddings=64",
    "num_experts=4",
    "num_experts=8",
    "num_hidden_layers=3",  # GPT-2's n_layer under another name
    "num_local_experts=4",
    "num_local_experts=8",
    "partial_rotary_factor=0.25",  # of heads of 12
    "position_embedding_type=\"relative_key\"",
    "qk_layernorm=true",  # StableLM
    "tie_word_embeddings=true",  # GPT-J, Phi
    "word_embed_proj_dim=16",  # OPT
}  # fmt: skip
# the reference's own defaults fit no tiny model
_DEFAULTS = re.compile(" left out$")


def _config(model_type: str, name: str) -> dict:
    config = BASES[model_type] | {"architectures": [name], "id2label": LABELS}
    if name == "DistilBertForQuestionAnswering":
        del config["id2label"]
    return config


@pytest.mark.parametrize(("model_type", "name", "counted"), _CLASSES)
def test_every_class_is_counted(model_type: str, name: str, counted: dict):
    config = _config(model_type, name)
    if name in _REFUSED:
        with pytest.raises(InputError, match="architectures is "):
            ex.explore(config)
        return
    inventory = ex.explore(config)
    assert inventory.num_parameters == counted["parameters"]
    assert not ex.ledger(inventory).provenance["parameters"].startswith("assumed")
    architecture = architecture_of(config)
    assert architecture.class_name == name
    stored = stored_tensors(
        architecture, checkpoint_names_of(architecture), is_bare(architecture)
    )
    outside = {
        key: list(tensor.shape)
        for key, tensor in stored.items()
        if not re.search(r"\.\d+\.", key)
    }
    if name == "GPTNeoXForCausalLM":  # its head's name in published files
        outside["lm_head.weight"] = outside.pop("embed_out.weight")
    assert outside == counted["tensors"]


@pytest.mark.parametrize("model_type", sorted(BASES))
def test_every_setting_counts_as_the_reference_does(model_type: str):
    refused, compared = set(), 0
    expected = _reference("settings")[model_type]
    for setting, config in changed(model_type).items():
        if expected[setting] is None:
            continue  # the reference itself refuses it
        try:
            ledger = ex.ledger(config)
        except InputError:
            refused.add(setting)
            continue
        if ledger.provenance["parameters"].startswith("assumed"):
            continue
        compared += 1
        assert ledger.parameters == expected[setting], setting
    assert {each for each in refused if not _DEFAULTS.search(each)} <= _REFUSED_SETTINGS
    assert compared > 130


class _Recorded(dict):
    """A config that records which of its fields are asked for."""

    def __init__(self, content: dict):
        super().__init__(content)
        self.asked: set[str] = set()

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name):
        self.asked.add(name)
        return super().__contains__(name)

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)


# fields of older releases and of publishers' code, none of which changes a count unmarked
_NUMERIC = {
    "model_type",
    "moe_layer_freq",  # an assumption
    "num_labels",  # transformers turns it into id2label
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "position_embedding_type",
    "rope_local_base_freq",
    "rope_scaling",
    "rope_theta",
    "rotary_emb_base",
    "rotary_pct",
    "scoring_func",
    "sliding_window_pattern",
    "topk_method",
    "torch_dtype",
}


@pytest.mark.parametrize("model_type", sorted(BASES))
def test_no_field_is_read_that_the_reference_does_not_read(model_type: str):
    asked = set()
    for _, name, _ in (each for each in _CLASSES if each[0] == model_type):
        if name not in _REFUSED:
            config = _Recorded(_config(model_type, name))
            architecture_of(config)
            asked |= config.asked
    assert asked - _NUMERIC <= set(_reference("fields")[model_type])
    assert len(asked) > 10


@pytest.mark.parametrize(
    ("model_type", "change"),
    [
        ("mistral", {"attention_bias": True}),
        ("mistral", {"mlp_bias": True}),
        ("qwen2", {"attention_bias": True}),
        ("qwen2", {"mlp_bias": True}),
        ("qwen3", {"mlp_bias": True}),
        ("stablelm", {"head_dim": 8}),
    ],
)
def test_fields_that_the_reference_does_not_read_change_nothing(model_type, change):
    base = BASES[model_type]
    assert ex.explore(base | change).tensors == ex.explore(base).tensors


@pytest.mark.parametrize(
    ("model_type", "spelled", "name"),
    [
        ("llama", "LLaMAForCausalLM", "LlamaForCausalLM"),
        ("bert", "TFBertForMaskedLM", "BertForMaskedLM"),
        ("roberta", "FlaxRobertaModel", "RobertaModel"),
    ],
)
def test_classes_in_older_spellings(model_type: str, spelled: str, name: str):
    config = BASES[model_type] | {"architectures": [spelled]}
    assert architecture_of(config) == architecture_of(config | {"architectures": [name]})


@pytest.mark.parametrize(
    ("dtype", "nbytes"),
    [("float8_e4m3fn", 1), ("torch.half", 2), ("float", 4), ("bfloat16", 2)],
)
def test_dtypes_change_bytes_alone(dtype: str, nbytes: int):
    inventory = ex.explore(BASES["llama"] | {"torch_dtype": dtype})
    assert inventory.num_parameters == ex.explore(BASES["llama"]).num_parameters
    assert inventory.nbytes == nbytes * inventory.num_parameters


_COUNTED = [
    ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "classifier"),
    ("llama", {"rope_scaling": {"type": "ntk", "factor": 2.0}}, "rope_scaling.type is 'ntk'"),
    ("llama", {"hidden_act": "relu2"}, "hidden_act is 'relu2'"),
    ("phi3", {"rope_scaling": {"type": "yarn"}}, "rope_scaling.type is 'yarn'"),
    ("gemma3_text", {"sliding_window": None}, "sliding_window is None"),
    ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention is"),
    ("gpt_oss", {"layer_types": ["chunked_attention"] * 4}, "layer_types has chunked_att"),
    ("gpt_oss", {"swiglu_alpha": 1.0}, "swiglu_alpha is 1.0"),
    ("bert", {"position_embedding_type": "alibi"}, "position_embedding_type is 'alibi'"),
    ("vit", {"pooler_act": "relu"}, "pooler_act is 'relu'"),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "change", "reason"), _COUNTED)
def test_what_changes_no_count_is_counted_and_not_built(model_type, change, reason):
    config = BASES[model_type] | change
    expected = ex.explore(BASES[model_type]).num_parameters
    if "architectures" in change:  # 2 labels in place of the vocabulary
        expected += (2 - BASES[model_type]["vocab_size"]) * BASES[model_type]["hidden_size"]
    ledger = ex.ledger(config)
    assert ledger.parameters == expected
    assert ledger.provenance["parameters"] == "exact"
    with pytest.raises(InputError, match="has no Flax module: ") as caught:
        ex.build_model(config)
    assert reason in str(caught.value)
    assert "its parameters can be counted" in str(caught.value)
