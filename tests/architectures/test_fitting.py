"""The tensors of every published model fit the architecture of its config, and no other."""

import pytest

from explorer.architectures.checkpoint_fit import (
    CheckpointFit,
    class_that_fits,
    fit_checkpoint,
)
from explorer.architectures.families import SUPPORTED, architecture_of, checkpoint_names_of
from explorer.errors import InputError
from tests.facts import listing, models

# the class that a listing is of, where the config was saved from another
CLASSES = {
    "google-bert/bert-base-uncased": "BertModel",
    "google-bert/bert-base-uncased#pretraining": "BertForPreTraining",
}
CONFIGS = {
    model["id"]: model["config"]
    | ({"architectures": [CLASSES[model["id"]]]} if model["id"] in CLASSES else {})
    for model in models()
    if model["config"]["model_type"] in SUPPORTED
}


def fitted(model: str, ondisk: bool = False) -> CheckpointFit:
    tensors = listing(model, ondisk)["tensors"]
    shapes = {n: tuple(s[0] if ondisk else s) for n, s in tensors.items()}
    architecture = architecture_of(CONFIGS[model])
    return fit_checkpoint(architecture, checkpoint_names_of(architecture), shapes)


@pytest.mark.parametrize("model", CONFIGS)
def test_every_published_model_fits(model: str):
    found = fitted(model)
    found.require(model)
    assert found.is_exact


@pytest.mark.parametrize("model", ["openai-community/gpt2", "openai-community/gpt2-xl"])
def test_masks_in_the_published_file_are_left_out(model: str):
    assert fitted(model, ondisk=True).is_exact


def test_deepseek_v3_as_published_has_scales_and_no_more_that_is_unexpected():
    found = fitted("deepseek-ai/DeepSeek-V3", ondisk=True)
    assert all(name.endswith("_scale_inv") for name in found.unexpected)
    assert not found.missing
    assert not found.mismatched


def test_gpt_oss_as_published_lacks_the_experts_that_are_packed():
    found = fitted("openai/gpt-oss-20b", ondisk=True)
    assert {name.rpartition(".")[2] for name in found.missing} == {
        "gate_up_proj",
        "down_proj",
    }
    with pytest.raises(
        InputError, match=r"^x: lacks model\.layers\.0\.mlp\.experts\.gate_up"
    ):
        found.require("x")


def config_and_shapes(model: str, class_name: str) -> tuple[dict, dict]:
    """The published tensors beside a config of some class."""
    tensors = listing(model)["tensors"]
    config = CONFIGS[model] | {"architectures": [class_name]}
    return config, {name: tuple(shape) for name, shape in tensors.items()}


@pytest.mark.parametrize(
    ("model", "given", "fitting"),
    [
        (
            "google-bert/bert-base-uncased#pretraining",
            "BertForMaskedLM",
            "BertForPreTraining",
        ),
        ("google-bert/bert-base-uncased", "BertForMaskedLM", "BertModel"),
        ("meta-llama/Llama-2-7b-hf", "LlamaModel", "LlamaForCausalLM"),
        ("google/vit-base-patch16-224", "ViTModel", "ViTForImageClassification"),
    ],
)
def test_the_class_that_tensors_fit(model: str, given: str, fitting: str):
    assert class_that_fits(*config_and_shapes(model, given)) == fitting


def test_tensors_that_no_class_fits():
    config, shapes = config_and_shapes("meta-llama/Llama-2-7b-hf", "LlamaModel")
    assert class_that_fits(config | {"vocab_size": 7}, shapes) is None


def test_what_far_outnumbers_the_tensors_is_counted_and_not_listed():
    config, shapes = config_and_shapes("meta-llama/Llama-2-7b-hf", "LlamaForCausalLM")
    config = config | {"num_hidden_layers": 10_000}
    architecture = architecture_of(config)
    found = fit_checkpoint(architecture, checkpoint_names_of(architecture), shapes)
    assert found.num_declared == 10_000 * 9 + 3
    assert found.num_missing == (10_000 - 32) * 9
    assert list(found.missing) == [
        f"model.layers.32.self_attn.{part}_proj.weight" for part in "qkv"
    ]
    assert not found.stored
    assert not found.is_exact


def test_a_model_is_listed_where_a_few_of_its_tensors_are_there():
    """A part of DeepSeek-V3 is distinguished from all of it by name, if it is a tenth or more."""
    model = "deepseek-ai/DeepSeek-V3"
    config, shapes = config_and_shapes(model, "DeepseekV3ForCausalLM")
    architecture = architecture_of(config)
    tenth = dict(list(shapes.items())[: len(shapes) // 10])
    found = fit_checkpoint(architecture, checkpoint_names_of(architecture), tenth)
    assert found.num_declared == len(found.stored) == len(shapes)
    assert found.missing == {n: s for n, s in shapes.items() if n not in tenth}
    assert found.num_missing == len(found.missing)
