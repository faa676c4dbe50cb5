"""From a name, a config or a path to the published counts, to the last unit."""

import json
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest

import explorer as ex
from explorer.architectures.catalog.entries import entries
from explorer.architectures.families import SUPPORTED
from explorer.architectures.resolve import inventory_of, resolve
from explorer.errors import InputError, TargetError
from tests import facts
from tests.analyses.test_ledger import breakdown

BUILT = {m["id"]: m for m in facts.models() if m["config"].get("model_type") in SUPPORTED}
MIXTURES = [name for name, m in BUILT.items() if isinstance(m["active_parameters"], dict)]
TINY = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "torch_dtype": "bfloat16",
}


# the class that was counted, where the published config names another
COUNTED = {
    "google-bert/bert-base-uncased": "BertModel",
    "google-bert/bert-base-uncased#pretraining": "BertForPreTraining",
}


def config_of(model: dict) -> dict:
    counted = COUNTED.get(model["id"])
    return model["config"] | ({"architectures": [counted]} if counted else {})


@pytest.mark.parametrize("model_id", BUILT)
def test_published_totals_and_breakdown_from_configs(model_id: str):
    model = BUILT[model_id]
    inventory = ex.explore(config_of(model))
    assert inventory.num_parameters == model["total_parameters"]
    assert breakdown(inventory) == model["breakdown"]
    assert inventory.num_biases == model["breakdown"]["bias"]
    assert sum(t.size for t in inventory if t.kind.is_parameter) == inventory.num_parameters


@pytest.mark.parametrize("model_id", BUILT)
def test_stacked_layers_hold_the_same_parameters(model_id: str):
    model = BUILT[model_id]
    known = resolve(config_of(model))
    flat, stacked = inventory_of(known), inventory_of(known, scan=True)
    assert stacked.num_parameters == flat.num_parameters
    assert breakdown(stacked) == breakdown(flat)
    for tensor in stacked:
        assert tensor.shape[: len(tensor.kind.stack)] == tensor.kind.stack
    # a stack of layers is as many tensors as it says
    layers = known.architecture.num_layers
    in_layers = [t for t in flat if t.path[0].startswith("layers_")]
    experts = {t.path[-3:]: t.multiplicity for t in flat}
    unstacked = sum(
        t.multiplicity // experts.get(t.path[-3:], 1)
        for t in stacked
        if t.path[0].startswith("stages_")
    )
    assert unstacked == len(in_layers) >= layers


@pytest.mark.parametrize("model_id", MIXTURES)
def test_published_active_parameters(model_id: str):
    model = BUILT[model_id]
    active = ex.ledger(config_of(model)).active_parameters
    published = model["active_parameters"]
    assert active is not None
    assert active.with_embedding_and_head == published["exact_including_embedding_and_head"]
    assert active.without_input_embedding == published["exact_excluding_input_embedding"]
    # of a tied model there is one embedding to leave out
    without = "exact_excluding_embedding_and_head"
    tied = "exact_excluding_embedding"
    assert active.without_embedding_and_head == published.get(without, published.get(tied))


def test_what_the_publisher_quotes():
    ledger = ex.ledger("deepseek-v3")
    assert ledger.active_parameters is not None
    assert ledger.active_parameters.publisher == "without_input_embedding"
    assert ledger.advertised is not None
    assert (ledger.advertised.parameters, ledger.advertised.active) == ("671B", "37B")
    dense = ex.ledger("gpt2").active_parameters
    assert dense is not None
    assert dense.with_embedding_and_head == 124_439_808
    assert dense.without_input_embedding is None  # the head is the same table


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.names[0])
def test_every_catalogued_model_is_built_exactly(entry):
    for name in (*entry.names, entry.id):
        assert resolve(name).architecture == resolve(entry.config).architecture
    inventory = ex.explore(entry.names[0])
    assert inventory.num_parameters == entry.parameters
    assert inventory.nbytes == sum(
        prod(t.shape) * {"float32": 4}.get(t.dtype, 2) for t in inventory
    )


def test_a_config_by_path_and_in_a_folder(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    by_dict, by_path, by_folder = ex.explore(TINY), ex.explore(path), ex.explore(tmp_path)
    assert by_dict.tensors == by_path.tensors == by_folder.tensors
    assert any("holds no weights" in remark for remark in by_folder.remarks)
    # 2 tables, 3 layers of 4 projections, 3 gated matrices and 2 norms, a last norm
    layer = 4 * 64 * 64 + 3 * 64 * 96 + 2 * 64
    assert by_dict.num_parameters == 2 * 100 * 64 + 3 * layer + 64
    assert by_dict.nbytes == 2 * by_dict.num_parameters
    unset = ex.explore({k: v for k, v in TINY.items() if k != "torch_dtype"})
    assert unset.nbytes == 4 * unset.num_parameters
    assert any("specifies no dtype" in remark for remark in unset.remarks)


def test_unknown_names():
    with pytest.raises(TargetError, match=r"did you mean llama-2-70b\?"):
        ex.explore("lama-2-70b")
    with pytest.raises(TargetError, match="no such file or folder, and no architecture"):
        ex.explore("nothing/like/this")
    with pytest.raises(TargetError, match="OpenAI discloses neither"):
        ex.explore("gpt-4")
    with pytest.raises(
        InputError, match=r"model_type 't5' is not supported; expected one of "
    ):
        ex.explore({"model_type": "t5", "d_model": 8})


def test_an_architecture_is_known_without_jax():
    script = (
        "import sys, explorer as ex;"
        "assert ex.explore('kimi-k2').num_parameters > 10**12;"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_card_of_a_model_is_not_that_of_a_part():
    whole = ex.explore("deepseek-v3")
    part = whole.select("layers_0/**")
    assert whole.card is not None
    assert part.card is None
    assert ex.ledger(part).active_parameters is None
    assert (
        ex.ledger(whole).checkpoint_tensors == 45_395
    )  # its main part, experts separately
    assert ex.ledger(whole).provenance["nbytes"] == "assumed (every tensor in bfloat16)"


def test_a_config_that_specifies_packed_weights():
    packed = ex.explore(TINY | {"quantization_config": {"quant_method": "mxfp4"}})
    assert (
        "the config specifies mxfp4 weights: bytes are those before packing"
        in packed.remarks
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"hidden_size": 64, "vocab_size": 9}, "model_type is missing"),
        ({"model_type": 3, "hidden_size": 64}, "model_type is missing"),
        ({"model_type": "llava", "text_config": {"model_type": "llama"}},
         "its text_config is a llama, which is supported"),
        ({"model_type": "gpt2", "architectures": ["GPT2DoubleHeadsModel"]},
         "without it GPT2LMHeadModel is built"),
    ],
)  # fmt: skip
def test_configs_that_are_not_supported(config: dict, expected: str):
    with pytest.raises(InputError, match=expected):
        ex.explore(config)


@pytest.mark.parametrize("name", ["t5-small", "llama3", "gemma-4"])
def test_another_number_is_another_model(name: str):
    with pytest.raises(TargetError) as caught:
        ex.explore(name)
    assert "did you mean" not in str(caught.value)
