"""Counts of adapters against those that peft printed, and the papers' tables."""

import re
from math import prod
from typing import Any, cast

import pytest

import explorer as ex
from explorer.architectures.architecture import Architecture
from explorer.architectures.families import architecture_of
from explorer.architectures.resolve import ResolvedArchitecture, inventory_of, resolve
from explorer.errors import InputError
from explorer.sizing.training.lora import (
    adapted_matrices,
    adapter_parameters,
    adapter_shapes,
)
from tests.sizing.subjects import CONFIGS


def added(architecture: Architecture, rank: int, *targets: str, dora: bool = False) -> int:
    return adapter_parameters(architecture, ex.Lora(rank=rank, targets=targets, dora=dora))


def opt(size: int, layers: int, heads: int, projected: int | None = None) -> Architecture:
    config = {
        "model_type": "opt", "vocab_size": 50272, "hidden_size": size, "num_hidden_layers": layers,
        "ffn_dim": 4 * size, "num_attention_heads": heads, "max_position_embeddings": 2048,
    }  # fmt: skip
    return architecture_of(config, "opt")


# peft's README, quicktour, guides and examples (2025): model, rank, targets, trainable
PRINTED = {
    "Qwen2.5-3B r16 q,v": (resolve("qwen2.5-3b").architecture, 16, ("q_proj", "v_proj"), 3_686_400),
    "OPT-6.7B r16 q,v": (opt(4096, 32, 32), 16, ("q_proj", "v_proj"), 8_388_608),
    "OPT-350M r16 q,v": (opt(1024, 24, 16), 16, ("q_proj", "v_proj"), 1_572_864),
    # with a head of two classes, 2 x 768 + 2, beside 294,912
    "BERT r8 q,v": (resolve("bert-base-uncased").architecture, 8, ("query", "value"), 296_450 - 1538),
    # with a head of 101 classes, 101 x 769, beside 589,824
    "ViT r16 q,v": (resolve("vit-base").architecture, 16, ("query", "value"), 667_493 - 101 * 769),
}  # fmt: skip


@pytest.mark.parametrize("case", PRINTED)
def test_trainable_counts_are_those_that_peft_prints(case: str):
    architecture, rank, targets, printed = PRINTED[case]
    assert added(architecture, rank, *targets) == printed


def test_all_parameters_are_the_models_and_the_adapters():
    # peft: trainable 3,686,400 of all 3,089,625,088
    inventory = inventory_of(resolve("qwen2.5-3b"))
    assert inventory.num_parameters + 3_686_400 == 3_089_625_088
    opt_67 = inventory_of(ResolvedArchitecture(opt(4096, 32, 32)))
    assert opt_67.num_parameters + 8_388_608 == 6_666_862_592


# LoRA paper (2021), GPT-3 175B: 96 layers of 12,288, adapters of queries and values
@pytest.mark.parametrize(
    ("rank", "millions"), [(1, 4.718592), (4, 18.874368), (8, 37.748736), (64, 301.989888)]
)
def test_gpt3_of_the_lora_paper(rank: int, millions: float):
    assert 96 * 2 * rank * 2 * 12_288 == round(millions * 1e6)
    gpt3 = opt(12_288, 96, 96)
    assert added(gpt3, rank, "q_proj", "v_proj") == round(millions * 1e6)


@pytest.mark.parametrize(
    ("name", "share"), [("llama-2-7b", 0.8325), ("llama-3.1-8b", 0.7051)]
)
def test_shares_of_the_dora_paper(name: str, share: float):
    targets = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")
    parameters = inventory_of(resolve(name)).num_parameters
    found = added(resolve(name).architecture, 32, *targets)
    assert round(100 * found / parameters, 4) == share


def test_dora_adds_a_magnitude_for_each_output():
    llama = resolve("llama-3.2-1b").architecture
    more = added(llama, 8, "q", "v", dora=True) - added(llama, 8, "q", "v")
    assert more == 16 * (2048 + 512)


def test_roberta_of_the_lora_paper():
    # 0.3M: 12 layers of 768, rank 8, queries and values
    assert added(resolve("roberta-base").architecture, 8, "query", "value") == 294_912


# peft's examples of evaluation and image classification: trainable, all
BASE = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072,
}  # fmt: skip
BERT = {
    **BASE, "model_type": "bert", "vocab_size": 28_996, "max_position_embeddings": 512,
    "type_vocab_size": 2, "architectures": ["BertForSequenceClassification"],
}  # fmt: skip
VIT = {
    **BASE, "model_type": "vit", "image_size": 224, "patch_size": 16, "num_channels": 3,
    "architectures": ["ViTForImageClassification"],
    "id2label": {str(n): str(n) for n in range(101)},
}  # fmt: skip
HEADS = {
    "bert-base-cased": (BERT, 8, 296_450, 108_608_260),
    "vit-base-patch16-224-in21k": (VIT, 16, 667_493, 86_543_818),
}


@pytest.mark.parametrize("case", HEADS)
def test_a_head_beside_adapters_is_counted_as_peft_does(case: str):
    config, rank, trainable, everything = HEADS[case]
    lora = ex.Lora(rank=rank, targets=("query", "value"), save=("classifier",))
    plan = ex.plan(config, train=True, context=16, lora=lora)
    assert plan.trainable_parameters == trainable
    # the head that is copied stays
    assert plan.parameters + plan.trainable_parameters == everything


def test_a_tied_head_is_copied():
    # peft lists it as new parameters
    tied = resolve("gpt2").architecture
    alone = adapter_parameters(tied, ex.Lora(rank=8, targets=("c_attn",)))
    for name in ("lm_head", "wte", "embed"):
        lora = ex.Lora(rank=8, targets=("c_attn",), save=(name,))
        assert adapter_parameters(tied, lora) - alone == 50_257 * 768


def test_a_model_in_4_bits_below_adapters():
    plan = ex.plan("llama-3.1-8b", train=True, quantize="nf4", lora=ex.Lora(rank=16))
    terms = {term.name: term.bytes for term in plan.terms}
    kept = ex.plan("llama-3.1-8b", quantize="nf4")
    weights = {term.name: term.bytes for term in kept.terms}
    assert terms["parameters"] == weights["parameters"] + 4 * plan.trainable_parameters
    assert terms["quantization"] == weights["quantization"]
    assert terms["optimizer"] == 8 * plan.trainable_parameters + 4
    assert (
        "one layer's weights at a time, dequantised to be multiplied" in plan.not_modelled
    )
    # compared with training all of it
    assert plan.before is not None
    assert plan.before.terms["gradients"] == 4 * plan.parameters


def test_experts_are_tensors_of_their_own_where_a_state_is_measured():
    mixtral = architecture_of(CONFIGS["mixtral"], "mixtral")
    assert mixtral.router is not None
    lora = ex.Lora(rank=2, targets=("all",), dora=True, save=("lm_head",))
    shapes = adapter_shapes(mixtral, lora)
    assert sum(map(prod, shapes.values())) == adapter_parameters(mixtral, lora)
    assert len({path[:-1] for path in shapes if "experts" in path}) == (
        mixtral.num_layers * mixtral.router.experts * 3
    )


def test_a_rank_above_a_matrix_is_a_warning():
    plan = ex.plan("llama-3.2-1b", train=True, lora=ex.Lora(rank=1024))
    assert (
        "lora: a rank of 1,024 is above the smaller side of v_proj, 512: no matrix needs more"
        in plan.notes
    )


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        (ex.Lora(rank=0), "lora: rank: is 0; expected at least 1"),
        (ex.Lora(rank=8, targets=()), "lora: targets: no name"),
        (ex.Lora(rank=8, targets=cast(Any, "q")), "lora: targets: 'q'; expected a tuple of names"),
        (ex.Lora(rank=8, dtype="bf17"), "lora: dtype"),
        (ex.Lora(rank=8, save=("lmhead",)), "lora: save: no module outside the layers is called"),
        (16, "lora: "),
    ],
)  # fmt: skip
def test_wrong_adapters_are_one_line(lora: Any, message: str):
    with pytest.raises(InputError) as raised:
        ex.plan("llama-3.1-8b", train=True, lora=lora)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_words_name_the_same_matrices():
    llama = resolve("llama-3.1-8b").architecture
    for words in (
        ("q", "v"),
        ("query", "value"),
        ("q_proj", "v_proj"),
        ("self_attn.q_proj", "v"),
    ):
        assert added(llama, 16, *words) == added(llama, 16, "q_proj", "v_proj")
    parts = added(llama, 16, "attention") + added(llama, 16, "mlp")
    assert added(llama, 16, "all") == added(llama, 16, "all-linear") == parts
    assert added(llama, 16, "q", "q_proj") == added(llama, 16, "q")


def test_a_fused_projection_is_one_matrix():
    (first, *_) = adapted_matrices(resolve("gpt2").architecture, ("c_attn",))
    assert (first.inputs, first.outputs, len(first.leaves)) == (768, 2304, 3)


def test_experts_have_an_adapter_each():
    mixtral = resolve("mixtral-8x7b").architecture
    assert added(mixtral, 8, "mlp") == 32 * 8 * 3 * 8 * (4096 + 14336)


def test_an_unknown_target_is_one_line():
    message = (
        "lora: no linear layer is called 'q_porj'; expected one of down_proj, gate_proj"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        ex.plan("llama-3.1-8b", train=True, lora=ex.Lora(rank=8, targets=("q_porj",)))


def test_the_usual_targets_of_latent_attention():
    # queries, and the matrix from which keys and values come, in 61 layers
    deepseek = resolve("deepseek-v3").architecture
    queries, both = 1536 + 128 * 192, 512 + 128 * 256
    assert added(deepseek, 16, "q", "v") == 61 * 16 * (queries + both)
    assert added(deepseek, 16, "q", "k", "v") == added(deepseek, 16, "q", "v")
