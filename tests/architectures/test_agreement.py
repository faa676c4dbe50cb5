"""A checkpoint is checked against its config: what would fail to load, what is ignored."""

from pathlib import Path

import pytest

import explorer as ex
from explorer.architectures.families import SUPPORTED
from explorer.inventory.card import Agreement
from tests import facts
from tests.checkpoints import write_folder

BUILT = {m["id"]: m for m in facts.models() if m["config"].get("model_type") in SUPPORTED}
# files whose class is not the one that the published config names
OTHER_CLASS = ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased#pretraining")


def folder_of(
    tmp_path: Path, model_id: str, change: dict | None = None, *, ondisk: bool = False
) -> Path:
    """Write the published layout, with some tensors changed, or left out where None."""
    listing = facts.listing(model_id, ondisk=ondisk)["tensors"]
    layout = {
        name: (tuple(spec[0]), spec[1]) if ondisk else (tuple(spec), "F32")
        for name, spec in listing.items()
    }
    for name, shape in (change or {}).items():
        layout.pop(name, None)
        if shape is not None:
            layout[name] = (shape, "F32")
    return write_folder(tmp_path / "model", layout, BUILT[model_id]["config"])


def agreement_of(folder: Path) -> Agreement:
    agreement = ex.ledger(folder).agreement
    assert agreement is not None
    return agreement


@pytest.mark.parametrize("model_id", [name for name in BUILT if name not in OTHER_CLASS])
def test_published_layouts_agree(tmp_path: Path, model_id: str):
    agreement = agreement_of(folder_of(tmp_path, model_id))
    assert agreement.agrees
    assert agreement.parameters == agreement.found == BUILT[model_id]["total_parameters"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_id", ["openai-community/gpt2", "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b"]
)
def test_buffers_packing_and_extra_layers_agree(tmp_path: Path, model_id: str):
    """Causal masks, FP8 with block scales and a prediction layer, MXFP4 blocks."""
    assert agreement_of(folder_of(tmp_path, model_id, ondisk=True)).agrees


def test_a_file_of_another_class(tmp_path: Path):
    """The pre-training file of BERT holds what BertForMaskedLM leaves out."""
    agreement = agreement_of(folder_of(tmp_path, OTHER_CLASS[1]))
    assert not agreement.missing
    assert not agreement.misshapen
    assert [text.split()[0] for text in agreement.unexpected] == [
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "cls.seq_relationship.weight",
        "cls.seq_relationship.bias",
    ]


def test_missing_unexpected_and_misshapen(tmp_path: Path):
    layer = "model.layers.3.mlp"
    change = {
        f"{layer}.up_proj.weight": None,
        f"{layer}.up.weight": (10, 20),
        f"{layer}.down_proj.weight": (7, 8192),
    }
    folder = folder_of(tmp_path, "meta-llama/Llama-3.2-1B", change)
    agreement = agreement_of(folder)
    assert agreement.missing == (f"{layer}.up_proj.weight [8192, 2048]",)
    assert agreement.unexpected == (f"{layer}.up.weight [10, 20]",)
    assert agreement.misshapen == (f"{layer}.down_proj.weight [7, 8192] for [2048, 8192]",)
    assert agreement.parameters == 1_235_814_400
    assert agreement.found == 1_235_814_400 - 2 * 8192 * 2048 + 10 * 20 + 7 * 8192
    text = str(ex.explore(folder))
    assert "file and config (LlamaForCausalLM) disagree: 1 missing from the file" in text


def test_a_wrong_config_leaves_a_remark_and_an_unknown_one_nothing(tmp_path: Path):
    layout = {"model.norm.weight": ((8,), "F32")}
    config = {"model_type": "llama", "hidden_size": "8"}
    wrong = ex.explore(write_folder(tmp_path / "wrong", layout, config))
    assert wrong.num_parameters == 8
    assert any("hidden_size is '8'; expected an int" in remark for remark in wrong.remarks)
    unknown = write_folder(tmp_path / "unknown", layout, {"model_type": "never_heard_of"})
    assert ex.explore(unknown).card is None
    assert not ex.explore(unknown).remarks


def test_formats_that_cannot_be_learned_do_not_agree(tmp_path: Path):
    listing = facts.listing("meta-llama/Llama-3.2-1B")["tensors"]
    layout = {name: (tuple(shape), "I8") for name, shape in listing.items()}
    config = BUILT["meta-llama/Llama-3.2-1B"]["config"]
    agreement = agreement_of(write_folder(tmp_path / "model", layout, config))
    assert not agreement.agrees
    assert (agreement.parameters, agreement.found) == (1_235_814_400, 0)


def test_one_file_of_several_is_not_a_whole_model(tmp_path: Path):
    layer = "model.layers.3.mlp.up_proj.weight"
    folder = folder_of(tmp_path, "meta-llama/Llama-3.2-1B", {layer: None})
    assert ex.explore(folder / "model.safetensors").card is None
