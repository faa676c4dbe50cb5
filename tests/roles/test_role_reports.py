"""What the parameters of published models do, and how much work one token is."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

import explorer as ex
from explorer.architectures.families import SUPPORTED
from explorer.errors import InputError, TreeError
from tests import facts
from tests.architectures.test_resolve import config_of

BUILT = {m["id"]: m for m in facts.models() if m["config"].get("model_type") in SUPPORTED}
DECODERS = [
    name
    for name, model in BUILT.items()
    if model["config"]["model_type"] not in ("bert", "distilbert", "roberta", "vit")
]
LENGTH = 64


def heads_of(config: dict) -> tuple[int, int, int]:
    """Layers, and the entries of all heads' keys and of their values."""
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    heads = config.get("num_attention_heads") or config.get("n_head")
    size = config.get("hidden_size") or config.get("n_embd")
    if "kv_lora_rank" in config:
        key = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
        return layers, heads * key, heads * config["v_head_dim"]
    entries = heads * (config.get("head_dim") or size // heads)
    return layers, entries, entries


def closed_form(model: dict) -> int:
    """Multiply-adds of one sequence, from published counts: every matrix once a token,
    k of n experts, the head, and each query with every key and value."""
    config, parts, active = model["config"], model["breakdown"], model["active_parameters"]
    mlp = parts["mlp_or_experts"]
    if isinstance(active, dict):
        experts, chosen = active["experts"], active["experts_per_token"]
        biases = 24 * 32 * (5760 + 2880) if config["model_type"] == "gpt_oss" else 0
        routed = active["routed_expert_parameters"] - biases
        mlp = mlp - routed + routed * chosen // experts
    attention = parts["attention"]
    if config["model_type"] == "gpt_oss":
        attention -= 24 * 64  # sinks are not matrices
    head = config["vocab_size"] * (config.get("hidden_size") or config.get("n_embd"))
    layers, keys, values = heads_of(config)
    each = attention + mlp + parts["router"] + head + layers * LENGTH * (keys + values)
    return LENGTH * each


@pytest.mark.slow  # traces models of published size
@pytest.mark.parametrize("model_id", DECODERS)
def test_work_is_the_closed_form(model_id: str):
    report = ex.report_roles(config_of(BUILT[model_id]), length=LENGTH)
    assert report.tokens == LENGTH
    assert report.macs == closed_form(BUILT[model_id])
    assert sum(each.macs for each in report.work) == report.macs
    assert sum(row.macs for row in report.rows) + report.free_macs == report.macs


@pytest.mark.slow  # traces models of published size
@pytest.mark.parametrize("model_id", BUILT)
def test_use_and_name_agree_on_published_architectures(model_id: str):
    model = BUILT[model_id]
    report = ex.report_roles(config_of(model))
    assert report.parameters == model["total_parameters"]
    assert report.biases == model["breakdown"]["bias"]
    assert not report.unused
    assert not report.disagreements
    assert all("e_score_correction_bias" in name for name in report.frozen)
    assert bool(report.tied) == (model["breakdown"]["lm_head"] == 0 and report.rows[0].tied)


@pytest.mark.parametrize(
    "model_id", [n for n, m in BUILT.items() if isinstance(m["active_parameters"], dict)]
)
def test_active_parameters_are_measured_from_use(model_id: str):
    model = BUILT[model_id]
    report = ex.report_roles(config_of(model))
    published = model["active_parameters"]["exact_including_embedding_and_head"]
    assert report.active == published
    assert "sparsely" in report.experts


def test_xla_counts_little_more_at_hidden_size_512():
    config = {
        "model_type": "llama",
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "vocab_size": 4096,
    }
    module = ex.build_model(config)
    ids = jax.ShapeDtypeStruct((1, 128), jnp.int32)
    params = jax.eval_shape(module.init, jax.random.key(0), ids)
    compiled = jax.jit(lambda p, i: module.apply(p, i).logits).lower(params, ids).compile()
    analysis = compiled.cost_analysis()
    flops = (analysis[0] if isinstance(analysis, list) else analysis)["flops"]
    ours = 2 * ex.report_roles(config, length=128).macs
    assert ours <= flops <= 1.05 * ours


SOURCE = """
import jax, jax.numpy as jnp
from flax import linen as nn, nnx

def function():
    params = {"q1": jnp.ones((3, 4)), "z9": jnp.ones(4)}
    return (lambda p, x: x @ p["q1"] + p["z9"]), params, (jnp.ones((2, 3)),)

def linen():
    return nn.Dense(4), jnp.ones((2, 3))

def with_nnx():
    return nnx.Linear(3, 4, rngs=nnx.Rngs(0)), jnp.ones((2, 3))

def alone():
    return nnx.Linear(3, 4, rngs=nnx.Rngs(0))
"""


@pytest.fixture
def module_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_models.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_models", raising=False)
    return "users_models"


@pytest.mark.parametrize("attribute", ["function", "linen", "with_nnx"])
def test_targets_in_code(module_name: str, attribute: str):
    target = f"{module_name}:{attribute}"
    report = ex.report_roles(target)
    assert (report.weights, report.biases, report.macs) == (12, 4, 2 * 3 * 4)
    inventory = ex.explore(target)
    assert (inventory.num_weights, inventory.num_biases) == (12, 4)
    assert inventory.role_by == "use"


def test_targets_that_cannot_be_called(module_name: str):
    with pytest.raises(TreeError, match="cannot be called: nothing says on which inputs"):
        ex.report_roles(f"{module_name}:alone")
    with pytest.raises(InputError, match="cannot be called with"):
        ex.report_roles(nn.Dense(3), "text")
    with pytest.raises(TreeError, match=r"expected \(module, \*inputs\)"):
        ex.report_roles((len, {}))


def test_modules_given_themselves():
    linen = ex.report_roles(nn.Dense(4), jnp.ones((2, 3)))
    modern = ex.report_roles(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), jnp.ones((2, 3)))
    assert [row.role for row in linen.rows] == [row.role for row in modern.rows]
    assert linen.tokens == modern.tokens == 0
