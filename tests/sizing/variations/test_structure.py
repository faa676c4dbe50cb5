"""Architectures with other layers, vocabularies, experts: what changes, to the last parameter."""

import re
from itertools import pairwise

import pytest

from explorer.architectures.architecture import Architecture
from explorer.architectures.resolve import ResolvedArchitecture, inventory_of, resolve
from explorer.errors import InputError
from explorer.sizing.records import Variation
from explorer.sizing.variations.structure import varied


def architecture(name: str) -> Architecture:
    return resolve(name).architecture


def count(name: str, **change: object) -> int:
    changed = varied(architecture(name), Variation(**change))
    return inventory_of(ResolvedArchitecture(changed)).num_parameters


NAMES = [
    "gpt2",
    "llama-3.1-8b",
    "gemma-2-9b",
    "deepseek-v3",
    "mixtral-8x7b",
    "bert-base-uncased",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_sizes_change_nothing(name: str):
    found = architecture(name)
    assert found.embed is not None
    same = Variation(layers=found.num_layers, vocab=found.embed.rows)
    assert varied(found, same) == found
    if found.router:
        assert varied(found, Variation(experts=found.router.experts)) == found


@pytest.mark.parametrize("name", NAMES)
def test_each_layer_more_costs_the_same(name: str):
    layers = architecture(name).num_layers
    period = len(architecture(name).stages[-1].blocks)
    steps = [count(name, layers=layers + i * period) for i in range(-1, 3)]
    assert len({b - a for a, b in pairwise(steps)}) == 1


def test_llama_at_other_sizes_is_the_closed_form():
    # per layer 2 x 4096^2 + 2 x 4096 x 1024 + 3 x 4096 x 14336 + 2 x 4096
    layer = 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
    assert (
        count("llama-3.1-8b", layers=8, vocab=32000) == 2 * 32000 * 4096 + 4096 + 8 * layer
    )


def test_a_head_of_its_own_costs_a_table_more():
    assert count("gpt2", untie=True) - count("gpt2") == 50257 * 768


def test_experts_change_router_and_experts_alone():
    # Mixtral: an expert is 3 x 4096 x 14336, and a column of the router, in 32 layers
    more = count("mixtral-8x7b", experts=16) - count("mixtral-8x7b")
    assert more == 32 * 8 * (3 * 4096 * 14336 + 4096)
    # DeepSeek-V3: 58 layers of mixtures, with a correction bias (a buffer) for each expert
    less = count("deepseek-v3") - count("deepseek-v3", experts=128)
    assert less == 58 * 128 * (3 * 7168 * 2048 + 7168)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gpt2", {"experts": 8}, "experts: GPT2LMHeadModel is not a mixture of experts"),
        ("llama-2-7b", {"untie": True}, "untie: the head of LlamaForCausalLM is not tied"),
        (
            "mixtral-8x7b",
            {"experts": 1},
            "experts: 1 for a router that picks 2; expected at least 2",
        ),
        ("deepseek-v3", {"experts": 100}, "at least 8, a multiple of its 8 groups"),
        ("gpt2", {"layers": 10**9}, "layers: 1,000,000,000 for GPT2LMHeadModel"),
        ("vit-base", {"vocab": 9}, "has no table of tokens"),
    ],
)
def test_changes_without_a_place_are_one_line(name: str, change: dict, message: str):
    with pytest.raises(InputError, match=re.escape(message)):
        varied(architecture(name), Variation(**change))
