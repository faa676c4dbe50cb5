"""The ledger of 44 published models comes out to the last unit, from headers alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import explorer as ex
from explorer.inventory.tensor import Kind
from tests import facts
from tests.checkpoints import write_folder

MODELS = {model["id"]: model for model in facts.models()}
ONDISK = ("openai-community/gpt2", "openai-community/gpt2-xl", "deepseek-ai/DeepSeek-V3",
          "openai/gpt-oss-20b")  # fmt: skip

# the published breakdown, in our words; the first that fits
BUCKETS: list[tuple[str, Callable[[Kind], bool]]] = [
    ("bias", lambda kind: kind.role == "bias"),
    ("norm", lambda kind: kind.component == "norm"),
    ("router", lambda kind: kind.component == "router"),
    ("embedding", lambda kind: kind.component == "embedding"),
    ("lm_head", lambda kind: kind.component == "head"),
    ("attention", lambda kind: kind.component == "attention"),
    ("mlp_or_experts", lambda kind: kind.component in ("mlp", "experts")),
    ("other", lambda kind: True),
]


def breakdown(inventory: ex.Inventory) -> dict[str, int]:
    sums = {name: 0 for name, _ in BUCKETS}
    for kind, _, unique in inventory.kinds:
        if kind.is_parameter:
            bucket = next(name for name, fits in BUCKETS if fits(kind))
            sums[bucket] += unique * kind.size
    return sums


def folder_of(tmp_path: Path, model: dict, *, ondisk: bool = False) -> Path:
    listing = facts.listing(model["id"], ondisk=ondisk)
    dtypes = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
    layout = {
        name: (tuple(spec[0]), spec[1])
        if ondisk
        else (tuple(spec), dtypes.get(listing.get("dtype", ""), "F32"))
        for name, spec in listing["tensors"].items()
    }
    return write_folder(tmp_path / "model", layout, model["config"])


@pytest.mark.parametrize("model_id", MODELS)
def test_published_totals_and_breakdown(tmp_path: Path, model_id: str):
    model = MODELS[model_id]
    inventory = ex.explore(folder_of(tmp_path, model))
    assert inventory.num_parameters == model["total_parameters"]
    assert breakdown(inventory) == model["breakdown"]
    assert inventory.num_biases == model["breakdown"]["bias"]
    assert inventory.num_weights + inventory.num_biases == inventory.num_parameters


@pytest.mark.slow
@pytest.mark.parametrize("model_id", ONDISK)
def test_published_layouts_on_disk(tmp_path: Path, model_id: str):
    model = MODELS[model_id]
    inventory = ex.explore(folder_of(tmp_path, model, ondisk=True))
    assert inventory.num_tensors == model["tensors"]
    assert inventory.num_parameters == model["total_parameters"]
    assert breakdown(inventory) == model["breakdown"]


@pytest.mark.slow
def test_deepseek_v3_of_688_gb(tmp_path: Path):
    """Every figure of the published file: 684,531,386,000 stored elements explained."""
    model = MODELS["deepseek-ai/DeepSeek-V3"]
    folder = folder_of(tmp_path, model, ondisk=True)
    ledger = ex.ledger(folder)
    assert (folder / "model.safetensors").stat().st_blocks * 512 < 20_000_000
    assert ledger.parameters == 671_026_404_352
    assert ledger.stored_elements == 684_531_386_000
    assert ledger.buffers == 14_848  # 58 x 256 correction biases
    assert ledger.nbytes == 688_574_839_360
    assert sum(ledger.collections.values()) == ledger.stored_elements
    assert "58 router correction biases: 14,848 elements are buffers" in " ".join(
        ledger.notes
    )
    assert any("multi-token-prediction" in note for note in ledger.notes)


def test_gpt2_masks_are_buffers(tmp_path: Path):
    ledger = ex.ledger(folder_of(tmp_path, MODELS["openai-community/gpt2"], ondisk=True))
    assert ledger.stored_elements == 137_022_720
    assert ledger.parameters == 124_439_808
    assert ledger.buffers == 12 * 1024 * 1024
    assert any(
        note.startswith("12 causal masks: 12,582,912 elements are buffers")
        for note in ledger.notes
    )
    assert ledger.tied == [["wte/weight", "lm_head/weight"]]
    assert ledger.provenance["nbytes"] == "exact"  # the head is not stored: no rule decided


def test_gpt_oss_unpacks_mxfp4(tmp_path: Path):
    ledger = ex.ledger(folder_of(tmp_path, MODELS["openai/gpt-oss-20b"], ondisk=True))
    assert ledger.parameters == 20_914_757_184
    assert ledger.stored_elements == 1_804_459_584 + 10_152_345_600
    assert ledger.nbytes == 13_761_264_768
    assert ledger.bits_per_weight == pytest.approx(8 * 13_761_264_768 / 20_914_757_184)
    # 24 layers x 32 experts x (5760 + 2880) rows x 2880 columns
    assert ledger.dtypes["float4_e2m1fn"] == 24 * 32 * (5760 + 2880) * 2880


@pytest.mark.parametrize("model_id", ["Qwen/Qwen3-0.6B", "tiiuae/falcon-7b"])
def test_a_stored_tied_head_counts_once(tmp_path: Path, model_id: str):
    """The Hub counts it twice: 751,632,384 for Qwen3-0.6B."""
    model = MODELS[model_id]
    ledger = ex.ledger(folder_of(tmp_path, model))
    assert ledger.stored_elements == model["hub_safetensors_total"]
    assert ledger.parameters == model["total_parameters"]
    assert any("is tied to" in note and "config.json" in note for note in ledger.notes)


def test_equal_shapes_without_evidence_count_separately(tmp_path: Path):
    layout = {
        "model.embed_tokens.weight": ((100, 8), "F32"),
        "lm_head.weight": ((100, 8), "F32"),
    }
    ledger = ex.ledger(write_folder(tmp_path / "no config", layout))
    assert ledger.parameters == 1600
    assert "counted separately" in " ".join(ledger.notes)
    assert ledger.provenance["parameters"].startswith("assumed")
    for tied, parameters in ((True, 800), (False, 1600)):
        config = {"model_type": "llama", "tie_word_embeddings": tied}
        ledger = ex.ledger(write_folder(tmp_path / str(tied), layout, config))
        assert ledger.parameters == parameters
        assert not ledger.provenance["parameters"].startswith("assumed")


def test_groups_add_up(tmp_path: Path):
    for model_id in ("sentence-transformers/all-MiniLM-L6-v2", "Qwen/Qwen3-0.6B"):
        ledger = ex.ledger(folder_of(tmp_path / model_id, MODELS[model_id]))
        assert sum(ledger.roles.values()) == ledger.parameters
        assert sum(ledger.components.values()) == ledger.parameters
        assert sum(ledger.dtypes.values()) == sum(ledger.collections.values())
        assert ledger.roles["bias"] if ledger.biases else "bias" not in ledger.roles
        for name, number in json.loads(json.dumps(ledger.roles)).items():
            assert type(number) is int, name


def test_select_keeps_what_fits(tmp_path: Path):
    inventory = ex.explore(
        folder_of(tmp_path, MODELS["sentence-transformers/all-MiniLM-L6-v2"])
    )
    attention = inventory.select("**/attention/**", role="kernel")
    assert attention.num_parameters == MODELS["sentence-transformers/all-MiniLM-L6-v2"][
        "breakdown"]["attention"]  # fmt: skip
    assert inventory.select("*.bias").num_parameters == inventory.num_biases
    assert inventory.select(role="weight").num_parameters == inventory.num_weights
    assert inventory.select("encoder/layer/[0-2]/**").num_tensors == 3 * 16
    assert len(inventory.select("nothing", missing_ok=True)) == 0
    with pytest.raises(ex.InputError, match="no tensor matches 'nothing'"):
        inventory.select("nothing")


def test_a_selected_alias_is_counted(tmp_path: Path):
    inventory = ex.explore(folder_of(tmp_path, MODELS["Qwen/Qwen3-0.6B"]))
    head = inventory.select("lm_head.weight")
    assert head.num_parameters == 151_936 * 1024
