"""Roles and components add up to the published counts of 44 models."""

from collections import Counter
from math import prod

import pytest

from explorer.identify.state import state_of
from explorer.paths import path_of
from explorer.roles.names import classify
from tests.facts import listing, models

_MODELS = {model["id"]: model for model in models()}
_BUCKETS = {"head": "lm_head", "mlp": "mlp_or_experts", "experts": "mlp_or_experts"}


def breakdown(tensors):
    """Return the published kind of breakdown of (path, shape) pairs."""
    counts = Counter()
    for path, shape in tensors:
        role, component = classify(path, shape)
        bucket = "bias" if role == "bias" else _BUCKETS.get(component, component)
        counts[bucket] += prod(shape)
    return counts


@pytest.mark.parametrize("name", _MODELS)
def test_published_totals_and_breakdowns(name):
    facts = listing(name)
    again = {name for group in facts["tied"] for name in group[1:]}
    tensors = [
        (path_of(name), tuple(shape))
        for name, shape in facts["tensors"].items()
        if name not in again
    ]
    parameters = [t for t in tensors if state_of(*t, "float32") is None]
    counts = breakdown(parameters)
    assert counts == Counter(_MODELS[name]["breakdown"])
    assert counts.total() == _MODELS[name]["total_parameters"]


@pytest.mark.parametrize("name", ["openai-community/gpt2", "openai-community/gpt2-xl"])
def test_published_file_of_gpt2(name):
    tensors = [
        (path_of(key), tuple(shape))
        for key, (shape, _) in listing(name, ondisk=True)["tensors"].items()
    ]
    parameters = [t for t in tensors if state_of(*t, "float32") is None]
    assert breakdown(parameters) == Counter(_MODELS[name]["breakdown"])


def test_published_file_of_deepseek_v3():
    name = "deepseek-ai/DeepSeek-V3"
    tensors = [
        (path_of(key), tuple(shape))
        for key, (shape, _) in listing(name, ondisk=True)["tensors"].items()
        if not key.endswith("weight_scale_inv") and not key.startswith("model.layers.61.")
    ]
    parameters = [t for t in tensors if state_of(*t, "float32") is None]
    assert breakdown(parameters) == Counter(_MODELS[name]["breakdown"])
    assert sum(prod(s) for _, s in tensors) - _MODELS[name]["total_parameters"] == 14_848


def test_published_file_of_gpt_oss():
    name = "openai/gpt-oss-20b"
    tensors = []
    for key, (shape, _) in listing(name, ondisk=True)["tensors"].items():
        if key.endswith("_blocks"):  # 16 bytes hold 32 four-bit values
            *rows, blocks, _ = shape
            tensors.append((path_of(key.removesuffix("_blocks")), (*rows, blocks * 32)))
        elif not key.endswith("_scales"):
            tensors.append((path_of(key), tuple(shape)))
    assert breakdown(tensors) == Counter(_MODELS[name]["breakdown"])


def test_routed_experts_are_what_the_publishers_count_as_routed():
    seen = 0
    for name, model in _MODELS.items():
        active = model["active_parameters"]
        if isinstance(active, dict):
            routed = sum(
                prod(shape)
                for key, shape in listing(name)["tensors"].items()
                if classify(path_of(key), tuple(shape))[1] == "experts"
            )
            assert routed == active["routed_expert_parameters"], name
            seen += 1
    assert seen == 7
