"""Catalogued counts equal published ones, closed forms of their configs, and each other."""

import csv
import io
import json
import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner

from explorer.architectures.catalog.entries import (
    CONVENTIONS,
    CatalogEntry,
    UndisclosedModel,
    entries,
    find,
    nearest,
    undisclosed,
)
from explorer.cli.catalog import catalog
from tests import facts
from tests.architectures.closed_forms import parts_of

NOT_BUILT = ("bloom", "clip", "falcon", "mamba", "t5", "whisper")
FACTS = {m["id"]: m for m in facts.models() if m["config"]["model_type"] not in NOT_BUILT}
MIXTURES = [entry for entry in entries() if entry.active is not None]
# tensors of one layer, and of what is not a layer (an untied head is one more)
STORED = {
    "bert": (16, 7),
    "gemma": (9, 2),
    "gemma2": (11, 2),
    "gemma3_text": (13, 2),
    "gpt2": (13, 4),
    "gpt_oss": (19, 2),
    "llama": (9, 2),
    "mistral": (9, 2),
    "olmo2": (11, 2),
    "phi3": (6, 2),
    "qwen2": (12, 2),
    "qwen3": (11, 2),
    "roberta": (16, 11),
    "vit": (16, 8),
}


def entry_of(name: str) -> CatalogEntry:
    found = find(name)
    assert isinstance(found, CatalogEntry), name
    return found


def number(figure: str) -> float:
    return float(figure[:-1]) * {"M": 1e6, "B": 1e9, "T": 1e12, "%": 0.01}[figure[-1]]


@pytest.mark.parametrize("model", FACTS.values(), ids=list(FACTS))
def test_published_facts(model: dict):
    entry = entry_of(model["id"])
    assert entry.id == model["id"]
    assert entry.parameters == model["total_parameters"]
    assert entry.tensors == model["tensors"]
    assert entry.config["model_type"] == model["config"]["model_type"]
    active = model["active_parameters"]
    if isinstance(active, int):
        assert entry.active is None
        assert active == entry.parameters
        return
    assert entry.active == {
        "with_embedding_and_head": active["exact_including_embedding_and_head"],
        "without_input_embedding": active["exact_excluding_input_embedding"],
        "without_embedding_and_head": active.get(
            "exact_excluding_embedding_and_head", active.get("exact_excluding_embedding")
        ),
    }


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.names[0])
def test_closed_forms(entry: CatalogEntry):
    parts = parts_of(entry.config)
    assert entry.parameters == parts.total
    if parts.experts == 1:
        assert entry.active is None
    else:
        without = parts.active - parts.embedding
        tied = entry.config["tie_word_embeddings"]
        assert entry.active == {
            "with_embedding_and_head": parts.active,
            "without_input_embedding": None if tied else without,
            "without_embedding_and_head": without - parts.head,
        }


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.names[0])
def test_entries_are_complete(entry: CatalogEntry):
    assert entry.source.startswith("https://")
    assert entry.names
    assert entry.names == tuple(name.lower() for name in entry.names)
    assert 0.73 < entry.parameters / number(entry.advertised) < 1.32
    assert entry.active is None or tuple(entry.active) == CONVENTIONS
    if entry.config["model_type"] != "grok-1":
        assert len(entry.config["architectures"]) == 1


@pytest.mark.parametrize("entry", MIXTURES, ids=lambda entry: entry.names[0])
def test_what_publishers_call_active(entry: CatalogEntry):
    assert entry.active is not None
    if entry.publisher_convention is None:
        assert entry.names[0] == "grok-1"
        return
    meant = entry.active[entry.publisher_convention]
    assert meant == pytest.approx(number(entry.advertised_active), rel=0.025)


@pytest.mark.parametrize(
    "entry",
    [e for e in entries() if e.id not in FACTS and e.config["model_type"] in STORED],
    ids=lambda entry: entry.names[0],
)
def test_stored_tensors(entry: CatalogEntry):
    layer, rest = STORED[entry.config["model_type"]]
    layers = entry.config.get("num_hidden_layers") or entry.config["n_layer"]
    untied = entry.config.get("tie_word_embeddings") is False
    more = {"llama-2-13b": layers, "qwen3-1.7b": 1}.get(entry.names[0], 0)
    assert entry.tensors == layer * layers + rest + untied + more


def test_stored_tensors_of_mixtures():
    def three(experts: int) -> int:
        return 3 * experts

    assert entry_of("mixtral-8x22b").tensors == 56 * (7 + three(8)) + 3
    assert entry_of("qwen3-235b-a22b").tensors == 94 * (9 + three(128)) + 3
    assert entry_of("deepseek-v2").tensors == 60 * 9 + 3 + 59 * (1 + three(160 + 1)) + 3
    assert entry_of("deepseek-r1").tensors == entry_of("deepseek-v3").tensors
    weights = 61 * 9 + 3 + 60 * (2 + three(384 + 1)) + 3
    scales = 61 * 5 + 3 + 60 * three(384 + 1)
    frequencies = 61
    assert entry_of("kimi-k2").tensors == weights + scales + frequencies


# published config.json files, and xai-org/grok-1's run.py and model.py
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("llama-3.1-8b", {"rope_scaling.factor": 8.0, "rope_scaling.rope_type": "llama3"}),
        ("llama-3.2-1b", {"rope_scaling.factor": 32.0, "rope_theta": 500000.0}),
        ("deepseek-v2-lite", {"rope_scaling.mscale": 0.707, "rope_scaling.factor": 40}),
        ("deepseek-v3", {"rope_scaling.mscale": 1.0, "routed_scaling_factor": 2.5}),
        ("kimi-k2", {"rope_scaling.beta_fast": 1.0, "routed_scaling_factor": 2.827}),
        ("gpt-oss-20b", {"rope_scaling.truncate": False, "swiglu_limit": 7.0}),
        ("gpt-oss-20b", {"layer_types": ["sliding_attention", "full_attention"] * 12}),
        ("gpt-oss-120b", {"layer_types": ["sliding_attention", "full_attention"] * 18}),
        ("gemma-3-270m", {"rope_local_base_freq": 10000.0, "rope_theta": 1000000.0}),
        ("phi-3-mini", {"rope_scaling": None, "sliding_window": 2047}),
        ("olmo-2-7b", {"rms_norm_eps": 1e-06, "rope_theta": 500000.0}),
        ("grok-1", {"max_attn_val": 30.0, "attn_output_multiplier": 128**-0.5}),
        ("grok-1", {"output_multiplier_scale": 3**-0.5, "embedding_multiplier_scale": 6144**0.5}),
    ],
)  # fmt: skip
def test_fields_that_change_no_shape(name: str, fields: dict):
    for path, expected in fields.items():
        value = entry_of(name).config
        for key in path.split("."):
            value = value[key]
        wanted = pytest.approx(expected) if isinstance(expected, float) else expected
        assert value == wanted, path


def test_every_name_means_one_model():
    seen: dict[str, str] = {}
    for entry in entries():
        last = entry.id.rpartition("/")[2].lower()
        for name in {*entry.names, entry.id.lower(), last}:
            assert seen.setdefault(name, entry.id) == entry.id, name
            assert find(name) is find(name.upper()) is entry
    for model in undisclosed():
        for name in model.names:
            assert seen.setdefault(name, name) == name
            assert find(name) is model
    assert find("Llama-2-70b-hf") is find("llama2-70b") is find("meta-llama/Llama-2-70b-hf")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lama-2-70b", "llama-2-70b"),
        ("llama_2_70b", "llama-2-70b"),
        ("deepseek-v-3", "deepseek-v3"),
        ("GPT2-XLL", "gpt2-xl"),
        ("bert-base-uncasd", "bert-base-uncased"),
        ("claud", "claude"),
        ("model.safetensors", None),
        ("", None),
        ("x" * 10**7, None),
    ],
)
def test_near_misses(typed: str, meant: str | None):
    assert find(typed) is None
    assert nearest(typed) == meant


def test_undisclosed_models_have_no_counts():
    publishers = {model.publisher for model in undisclosed()}
    assert {"OpenAI", "Anthropic"} <= publishers
    for name in ("gpt-4", "claude"):
        assert isinstance(find(name), UndisclosedModel)
    for model in undisclosed():
        values = msgspec.structs.asdict(model).values()
        assert not any(isinstance(value, int | float) for value in values)
        assert bool(model.estimate) == bool(model.source)


def test_json_holds_everything():
    shown = CliRunner().invoke(catalog, ["--format", "json"])
    assert shown.exit_code == 0
    models = msgspec.json.decode(shown.output, type=dict[str, list[dict]])
    assert msgspec.convert(models["models"], tuple[CatalogEntry, ...]) == entries()
    assert (
        msgspec.convert(models["undisclosed"], tuple[UndisclosedModel, ...])
        == undisclosed()
    )
    kimi = next(m for m in json.loads(shown.output)["models"] if "kimi-k2" in m["names"])
    assert kimi["parameters"] == 1_026_408_209_408


def test_text_and_csv_and_markdown_list_every_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = CliRunner().invoke(catalog).output
    table = CliRunner().invoke(catalog, ["--format", "csv"]).output
    markdown = CliRunner().invoke(catalog, ["--format", "md"]).output
    rows = list(csv.DictReader(io.StringIO(table)))
    assert (
        len(rows) == len(entries()) + len(undisclosed()) == len(markdown.splitlines()) - 2
    )
    for entry in entries():
        line = next(li for li in text.splitlines() if li.split()[:1] == [entry.names[0]])
        assert line.split()[1] == f"{entry.parameters:,}"
    assert sum(int(row["parameters"] or 0) for row in rows) == sum(
        entry.parameters for entry in entries()
    )


def test_asking_loads_neither_jax_nor_numpy():
    script = (
        "import sys; from explorer.architectures.catalog.entries import find; assert find('gpt2');"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
