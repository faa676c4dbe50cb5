"""Optimizer state of any transformation, by its own `init`, through a plan."""

from typing import Any

import jax
import optax
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.sizing.training.slots import measured_slots

SHAPES = {("dense", "kernel"): (48, 32), ("dense", "bias"): (32,), ("scale",): (7, 5, 3)}
TREE = {"dense": {"kernel": (48, 32), "bias": (32,)}, "scale": (7, 5, 3)}


def kept_by(optimizer: Any, dtype: str) -> int:
    params = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, dtype), TREE, is_leaf=lambda x: isinstance(x, tuple)
    )  # fmt: skip
    state = jax.eval_shape(optimizer.init, params)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-3, mu_dtype="bfloat16"),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1, 9))),
        optax.masked(optax.adam(1e-3), {"dense": {"kernel": True, "bias": False}, "scale": False}),
        optax.multi_transform(
            {"a": optax.sgd(1.0, momentum=0.9), "b": optax.set_to_zero()},
            {"dense": {"kernel": "a", "bias": "b"}, "scale": "b"},
        ),
        optax.MultiSteps(optax.adamw(1e-3), 4).gradient_transformation(),
        optax.adafactor(1e-3),
        optax.lion(1e-3),
        optax.contrib.muon(1e-3),
        optax.contrib.schedule_free_adamw(1e-3),
    ],
    ids=lambda found: getattr(found.init, "__qualname__", "?").split(".")[0] + str(id(found) * 0),
)  # fmt: skip
def test_any_transformation_is_measured(optimizer: Any):
    found = measured_slots(optimizer, SHAPES, "float32")
    assert found.bytes == kept_by(optimizer, "float32")


# bytes a parameter (maxtext, Megatron-LM and DeepSpeed argue over these): optax on GPT-2
@pytest.mark.parametrize(
    ("optimizer", "each"),
    [
        (optax.adamw(1e-3), 8.0),
        (optax.adamw(1e-3, mu_dtype="bfloat16"), 6.0),
        (optax.lion(1e-3), 4.0),
        (optax.sgd(1e-3), 0.0),
    ],
    ids=["adamw", "adamw, mu in bfloat16", "lion", "sgd"],
)
def test_bytes_a_parameter(optimizer: Any, each: float):
    plan = ex.plan("gpt2", train=True, optimizer=optimizer)
    (state,) = [term for term in plan.terms if term.name == "optimizer"]
    assert state.is_exact
    assert state.bytes / plan.parameters == pytest.approx(each, abs=1e-6)


def test_adapters_alone_have_state():
    plan = ex.plan("llama-3.2-1b", train=True, lora=ex.Lora(rank=16))
    terms = {term.name: term.bytes for term in plan.terms}
    trained = plan.trainable_parameters
    assert terms["gradients"] == 4 * trained
    assert terms["optimizer"] == 8 * trained + 4
    assert terms["parameters"] == 2 * plan.parameters + 4 * trained
    measured = ex.plan(
        "llama-3.2-1b", train=True, lora=ex.Lora(rank=16), optimizer=optax.adamw(1e-3)
    )
    assert {term.name: term.bytes for term in measured.terms} == terms


def test_masters_of_16_bit_parameters():
    # 2 + 2 + 4 + 8 bytes a parameter
    plan = ex.plan("gpt2", train=True, dtype="bfloat16", master="float32")
    terms = {term.name: term.bytes for term in plan.terms}
    kept = ("parameters", "gradients", "master_parameters", "optimizer")
    assert sum(terms[name] for name in kept) == 16 * plan.parameters + 4


def test_sums_of_micro_batches_are_wide():
    for dtype, each in (("float32", 8), ("bfloat16", 6), ("float64", 16)):
        plan = ex.plan("gpt2", train=True, dtype=dtype, accumulate=4)
        (grads,) = [term for term in plan.terms if term.name == "gradients"]
        assert grads.bytes == each * plan.parameters, dtype


def test_quantized_weights_alone_are_not_trained():
    message = (
        "quantize: nf4 in training, and no adapters; expected weights that have gradients; "
        "add --lora rank=16, or leave out --quantize"
    )
    with pytest.raises(InputError) as raised:
        ex.plan("gpt2", train=True, quantize="nf4")
    assert str(raised.value) == message


@pytest.mark.parametrize("wrong", [3, {"lr": 1}, optax.adamw])
def test_what_is_not_a_transformation_is_one_line(wrong: Any):
    with pytest.raises(
        InputError, match=r"^optimizer: \w+ has no init and update; expected an optax"
    ):
        ex.plan("gpt2", train=True, optimizer=wrong)
