"""Activations against the papers' formulas, and the model states of ZeRO and DeepSpeed."""

import pytest

import explorer as ex
from explorer.architectures.resolve import resolve
from explorer.sizing.training.activations import activation_range, korthikanti
from explorer.sizing.training.zero import deepspeed_zero2, zero_bytes

GIB = 2**30


def test_attention_scores_of_korthikanti():
    # 5 a s / h: 80 for GPT-3 at 2,048 tokens, 64 for the model of 530B
    for hidden, heads, scores in ((12_288, 96, 80), (20_480, 128, 64)):
        tokens = 2048 * hidden
        whole = korthikanti(2048, 1, hidden, heads)
        selective = korthikanti(2048, 1, hidden, heads, recompute="selective")
        full = korthikanti(2048, 1, hidden, heads, recompute="full")
        assert whole / tokens == 34 + scores
        assert selective / tokens == 34
        assert round(100 * (1 - selective / whole)) == {80: 70, 64: 65}[scores]
        assert full / tokens == 2
        assert korthikanti(2048, 1, hidden, heads, tensor=8) == whole / 8
        # equation 2: s b h (10 + 24 / t + 5 a s / h t)
        repeated = korthikanti(2048, 1, hidden, heads, tensor=8, sequence_parallel=False)
        assert repeated / tokens == 10 + 24 / 8 + scores / 8


def test_llama_8b_without_its_scores():
    # the nanotron playbook's figure: 34 s b h L
    for tokens, printed in ((1024, 4.25), (4096, 17.0), (16_384, 68.0)):
        found = korthikanti(tokens, 1, 4096, 32, 32, recompute="selective")
        assert found / GIB == printed


def test_starcoder_of_one_key_head():
    # 30 + 4 / a + 5 a s / h, batch 4: 206 GB as the article prints GiB
    found = korthikanti(2048, 4, 6144, 48, 40, kv_heads=1)
    assert round(found / GIB) == 206


# stas00/ml-engineering (2025): copies of the hidden state a layer, measured in bfloat16
@pytest.mark.parametrize(
    ("name", "copies"),
    [
        ("smollm2-360m", 24), ("llama-3.1-8b", 28), ("mistral-7b", 28), ("qwen3-8b", 29.8),
        ("qwen3-4b", 38), ("gemma-2b", 48),
    ],
)  # fmt: skip
def test_measured_copies_of_hidden_states(name: str, copies: float):
    architecture = resolve(name).architecture
    found = activation_range(architecture, 4096, 4096, "none", 2)
    one = 2 * 4096 * architecture.size * architecture.num_layers
    assert found.low < copies * one < found.high
    assert found.best == pytest.approx(copies * one, rel=0.06)


def test_scores_of_attention_that_is_not_fused_are_below_the_most():
    # XLA for TPU v5e, steps of four layers with batch 2: temporaries without gradients, float32
    # logits with their gradient, and the copy of parameters in bfloat16, in MB
    for name, context, measured in (("gpt2", 1024, 1290), ("llama-3.2-1b", 2048, 9277)):
        plan = ex.plan(name, train=True, context=context, batch=2, layers=4)
        (term,) = [term for term in plan.terms if term.name == "activations"]
        assert term.low < measured * 10**6 < term.high


def test_tensor_parallel_devices_share_heads_and_hidden_features():
    llama = resolve("llama-3.1-8b").architecture
    one = activation_range(llama, 4096, 4096, "none", 2).best
    eight = activation_range(llama, 4096, 4096, "none", 2, tensor=8).best
    whole = 2 * 4096 * 32 * 11 * 4096  # two RMS norms of 4, and 3 of the model's width
    assert eight == whole + (one - whole) / 8
    plan = ex.plan(
        "llama-3.1-8b", train=True, context=4096, batch=2, mesh={"fsdp": 2, "tensor": 8}
    )
    (term,) = [term for term in plan.terms if term.name == "activations"]
    assert (term.bytes, term.on_device) == (16 * eight, eight)


def test_an_image_is_its_patches():
    plan = ex.plan("vit-base", train=True, batch=8)
    (term,) = [term for term in plan.terms if term.name == "activations"]
    assert term.note.startswith("8 images of 197 tokens")
    assert plan.workload.context == 197
    assert not any(term.name == "logits" for term in plan.terms)


def test_states_of_zero():
    # ZeRO (2020), figure 1: 7.5B parameters on 64 devices
    printed = (120, 31.4, 16.6, 1.88)
    for stage, each in enumerate(printed):
        assert zero_bytes(7_500_000_000, 64, stage) / 1e9 == pytest.approx(each, rel=3e-3)
    device, host = deepspeed_zero2(2_851_000_000, 8, offload=True)
    assert (round(device / GIB, 2), round(host / GIB, 2)) == (5.31, 127.45)


@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "gpt2", "mixtral-8x7b", "bert-base-uncased"]
)
def test_recomputing_more_keeps_less(name: str):
    kept = []
    for remat in ("none", "selective", "full"):
        plan = ex.plan(name, train=True, context=512, remat=remat)
        (term,) = [term for term in plan.terms if term.name == "activations"]
        assert term.low <= term.bytes <= term.high
        assert term.provenance.startswith("estimated")
        kept.append(term.bytes)
    assert kept == sorted(kept, reverse=True)


def test_activations_follow_tokens():
    one, four = (
        next(t for t in ex.plan("gpt2", train=True, context=256, batch=b).terms if t.name == "activations")
        for b in (1, 4)
    )  # fmt: skip
    assert (four.low, four.bytes, four.high) == (4 * one.low, 4 * one.bytes, 4 * one.high)


def test_an_interval_holds_what_the_paper_counts_for_gpt2():
    # without dropout masks (5 s b h) and the scores of attention
    plan = ex.plan("gpt2", train=True, context=1024)
    (term,) = [term for term in plan.terms if term.name == "activations"]
    paper = 29 * 1024 * 768 * 12
    assert term.low <= paper <= term.high


def test_without_an_architecture_the_other_terms_are_given():
    tree = {"kernel": [[0.0] * 8] * 4}
    plan = ex.plan(tree, train=True)
    assert [t.name for t in plan.terms] == [
        "parameters",
        "gradients",
        "optimizer",
        "workspace",
        "reserve",
    ]
    assert any("nothing says what the layers" in note for note in plan.not_modelled)
