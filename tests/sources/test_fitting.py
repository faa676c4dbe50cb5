"""The tensors of every published model fit the architecture of its config, and no other."""

import pytest

from explorer.errors import InputError
from explorer.models.families import SUPPORTED, architecture_of, names_of
from explorer.sources.fitting import Fit, fit
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


def fitted(model: str, ondisk: bool = False) -> Fit:
    tensors = listing(model, ondisk)["tensors"]
    shapes = {n: tuple(s[0] if ondisk else s) for n, s in tensors.items()}
    architecture = architecture_of(CONFIGS[model])
    return fit(architecture, names_of(architecture), shapes)


@pytest.mark.parametrize("model", CONFIGS)
def test_every_published_model_fits(model: str):
    found = fitted(model)
    found.require(model)
    assert found.whole


@pytest.mark.parametrize("model", ["openai-community/gpt2", "openai-community/gpt2-xl"])
def test_masks_in_the_published_file_are_left_out(model: str):
    assert fitted(model, ondisk=True).whole


def test_deepseek_v3_as_published_has_scales_and_no_more_that_is_unexpected():
    found = fitted("deepseek-ai/DeepSeek-V3", ondisk=True)
    assert all(name.endswith("_scale_inv") for name in found.unexpected)
    assert not found.missing
    assert not found.misshapen


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
