"""Decoder families against published counts, listings and settings."""

from collections import Counter
from math import prod

import numpy as np
import pytest

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import declare
from explorer.architectures.families import SUPPORTED, architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import alias_tensors, stored_tensors
from explorer.identify.state import state_of
from tests.facts import listing, models
from tests.roles.test_published import breakdown

_FAMILIES = set(SUPPORTED) & {
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"),
    *("mixtral", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3", "grok-1"),
    *("gpt_oss", "phi3", "olmo", "olmo2", "phi", "stablelm"),
}
_MODELS = {m["id"]: m for m in models() if m["config"]["model_type"] in _FAMILIES}
_MIXTURES = [
    name for name, m in _MODELS.items() if isinstance(m["active_parameters"], dict)
]
_FUSED = ("mixtral", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3")
# moonshotai/Kimi-K2-Instruct config.json
_KIMI = {
    "model_type": "kimi_k2",
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 384,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.827,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "vocab_size": 163840,
    "rope_theta": 50000.0,
    "max_position_embeddings": 131072,
    "rope_scaling": {
        "beta_fast": 1.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
}


def _config(name: str, **changes) -> dict:
    return _MODELS[name]["config"] | changes


def _build(name: str, **changes) -> Architecture:
    return architecture_of(_config(name, **changes), name)


def _tiny(family: str) -> dict:
    """Return a published config with sizes that fit in a test."""
    config = next(
        m["config"] for m in _MODELS.values() if m["config"]["model_type"] == family
    )
    sizes = {
        "hidden_size": 64,  # so that a quarter of a head is an even number
        "intermediate_size": 24,
        "moe_intermediate_size": 10,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": 11,
        "num_experts": 4,
        "num_local_experts": 4,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "kv_lora_rank": 6,
        "qk_nope_head_dim": 6,
        "qk_rope_head_dim": 4,
        "v_head_dim": 5,
        "first_k_dense_replace": 1,
        "n_group": 4,
        "topk_group": 2,
    }
    if config.get("q_lora_rank"):
        sizes["q_lora_rank"] = 7
    return config | {key: value for key, value in sizes.items() if key in config}


def _parameters(architecture: Architecture):
    return [
        leaf for leaf in declare(architecture) if leaf.path[-1] != "e_score_correction_bias"
    ]


@pytest.mark.parametrize("name", _MODELS)
def test_declared_parameters_are_those_published(name):
    leaves = _parameters(_build(name))
    assert sum(prod(leaf.shape) for leaf in leaves) == _MODELS[name]["total_parameters"]
    assert all(state_of(leaf.path, leaf.shape, "float32") is None for leaf in leaves)
    counts = breakdown((leaf.path, leaf.shape) for leaf in leaves)
    assert counts == Counter(_MODELS[name]["breakdown"])


@pytest.mark.parametrize("name", _MODELS)
def test_stored_tensors_are_those_of_the_published_listing(name):
    architecture = _build(name)
    names = checkpoint_names_of(architecture)
    facts = listing(name)
    again = {second for group in facts["tied"] for second in group[1:]}
    stored = stored_tensors(architecture, names)
    assert {key: list(each.shape) for key, each in stored.items()} == {
        key: shape for key, shape in facts["tensors"].items() if key not in again
    }
    assert set(alias_tensors(architecture, names)) == again
    covered = Counter(path for each in stored.values() for path in each.leaves)
    experts = {leaf.path: leaf.experts for leaf in declare(architecture)}
    assert set(covered) == set(experts)
    assert all(times in (1, experts[path]) for path, times in covered.items())


@pytest.mark.parametrize("name", _MIXTURES)
def test_active_parameters_are_those_published(name):
    architecture, active = _build(name), _MODELS[name]["active_parameters"]
    leaves = _parameters(architecture)
    routed = sum(prod(leaf.shape) for leaf in leaves if leaf.experts > 1)
    router = architecture.router
    assert routed == active["routed_expert_parameters"]
    assert (router.experts, router.per_token) == (
        active["experts"],
        active["experts_per_token"],
    )
    total = sum(prod(leaf.shape) for leaf in leaves)
    used = routed * router.per_token // router.experts
    assert total - routed + used == active["exact_including_embedding_and_head"]


def test_kimi_k2_has_the_elements_of_its_files():
    leaves = declare(architecture_of(_KIMI))
    # the published headers count the correction biases too
    assert sum(prod(leaf.shape) for leaf in leaves) == 1_026_408_232_448
    buffers = [x for x in leaves if x.path[-1] == "e_score_correction_bias"]
    assert [leaf.shape for leaf in buffers] == [(384,)] * 60


@pytest.mark.parametrize("name", _MODELS)
def test_a_bare_body_has_no_head_and_no_prefix(name):
    whole = _build(name)
    classes = {"gemma3_text": "Gemma3TextModel"}
    head = whole.class_name.replace("ForCausalLM", "Model")
    body = _build(name, architectures=[classes.get(whole.family, head)])
    names = checkpoint_names_of(body)
    kept = set(stored_tensors(whole, checkpoint_names_of(whole))) - {
        "lm_head.weight",
        "lm_head.bias",
    }
    assert set(stored_tensors(body, names)) == kept
    bare = set(stored_tensors(body, names, bare=True))
    assert bare == {key.removeprefix(names.base_prefix) for key in kept}
    assert alias_tensors(body, names) == {}


@pytest.mark.parametrize("name", _MODELS)
def test_equal_layers_are_one_object(name):
    blocks = list(_build(name).blocks())
    assert len({id(block) for block in blocks}) == len(set(blocks))


def _tree(architecture: Architecture) -> dict:
    random = np.random.default_rng(0)
    return {
        leaf.path: random.standard_normal(leaf.shape, "float32")
        for leaf in declare(architecture)
    }


def _leaves(tree: dict, each) -> list:
    if each.expert is None:
        return [tree[path] for path in each.leaves]
    return [tree[path][each.expert] for path in each.leaves]


@pytest.mark.parametrize("family", sorted(_FAMILIES))
@pytest.mark.parametrize("fused", [False, True])
def test_leaves_survive_being_stored(family, fused):
    architecture = architecture_of(_tiny(family))
    tree = _tree(architecture)
    present = {
        f"model.layers.{layer}.mlp.experts.{name}"
        for layer in range(2)
        for name in ("gate_up_proj", "down_proj")
    }
    stored = stored_tensors(
        architecture, checkpoint_names_of(architecture), present=present if fused else None
    )
    for each in stored.values():
        leaves = _leaves(tree, each)
        array = each.layout.store(leaves)
        assert array.shape == each.shape
        back = each.layout.leaves(array, [leaf.shape for leaf in leaves])
        for ours, leaf in zip(back, leaves, strict=True):
            np.testing.assert_array_equal(ours, leaf)


@pytest.mark.parametrize("family", _FUSED)
def test_fused_experts_hold_gates_then_ups_transposed(family):
    architecture = architecture_of(_tiny(family))
    names, tree = checkpoint_names_of(architecture), _tree(architecture)
    prefix, layer = "model.layers.1.mlp.experts.", ("layers_1", "moe", "experts")
    present = {f"{prefix}gate_up_proj", f"{prefix}down_proj"}
    split = stored_tensors(architecture, names)
    fused = stored_tensors(architecture, names, present=present)
    assert present <= set(fused)
    assert present.isdisjoint(split)
    assert not any(".1." in key and ".experts.0." in key for key in fused)
    gate_up = fused[f"{prefix}gate_up_proj"]
    array = gate_up.layout.store(_leaves(tree, gate_up))
    inner = array.shape[1] // 2
    for expert in range(array.shape[0]):
        gate = tree[(*layer, "gate_proj", "kernel")][expert]
        up = tree[(*layer, "up_proj", "kernel")][expert]
        np.testing.assert_array_equal(array[expert, :inner], gate.T)
        np.testing.assert_array_equal(array[expert, inner:], up.T)
    down = fused[f"{prefix}down_proj"]
    np.testing.assert_array_equal(
        down.layout.store(_leaves(tree, down))[1],
        tree[(*layer, "down_proj", "kernel")][1].T,
    )


def test_gates_and_ups_of_gpt_oss_alternate():
    architecture = architecture_of(_tiny("gpt_oss"))
    tree, layer = _tree(architecture), ("layers_1", "moe", "experts")
    stored = stored_tensors(architecture, checkpoint_names_of(architecture))
    for name, leaf in (("gate_up_proj", "kernel"), ("gate_up_proj_bias", "bias")):
        each = stored[f"model.layers.1.mlp.experts.{name}"]
        array = each.layout.store(_leaves(tree, each))
        np.testing.assert_array_equal(array[..., ::2], tree[(*layer, "gate_proj", leaf)])
        np.testing.assert_array_equal(array[..., 1::2], tree[(*layer, "up_proj", leaf)])


def test_phi3_stacks_queries_keys_and_values():
    architecture = architecture_of(_tiny("phi3"))
    tree = _tree(architecture)
    stored = stored_tensors(architecture, checkpoint_names_of(architecture))
    each = stored["model.layers.0.self_attn.qkv_proj.weight"]
    parts = [
        tree["layers_0", "attention", n, "kernel"].T for n in ("query", "key", "value")
    ]
    np.testing.assert_array_equal(
        each.layout.store(_leaves(tree, each)), np.concatenate(parts)
    )


@pytest.mark.parametrize("name", _MODELS)
def test_both_spellings_of_a_config_say_the_same(name):
    config = _config(name)
    newer = {k: v for k, v in config.items() if k not in ("torch_dtype", "rope_theta")}
    newer["dtype"] = config.get("torch_dtype")
    if "rope_theta" in config and config["model_type"] != "gpt_oss":
        newer["rope_parameters"] = {
            "rope_type": "default",
            "rope_theta": config["rope_theta"],
        }
    elif "rope_theta" in config:
        newer["rope_theta"] = config["rope_theta"]
    assert architecture_of(newer) == architecture_of(config)
