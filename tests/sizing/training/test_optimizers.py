"""Optimizers by name: formulas of their state against `init` of optax, over architectures."""

import subprocess
import sys
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.sizing.compiled.optimizers import OPTIMIZERS, optimizer_named
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.settings import Lora, Workload
from explorer.sizing.training.optimizers import NAMES, Tensors, named_slots
from explorer.sizing.training.state import state_terms
from explorer.tree.nest import nest
from tests.sizing.subjects import published, subject_of

MODELS = ("llama", "gpt2", "mixtral", "bert", "gemma3", "deepseek_v3", "vit")


def kept_by(optimizer: Any, shapes: Any, dtype: str) -> int:
    params = {path: jax.ShapeDtypeStruct(shape, dtype) for path, shape in shapes.items()}
    state = jax.eval_shape(optimizer.init, nest(params))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def shapes_of(name: str) -> dict[tuple[str, ...], tuple[int, ...]]:
    subject = published(name) if name in ("gpt2", "vit-base") else subject_of(name)
    return {
        tensor.path: tensor.shape
        for tensor in subject.inventory
        if tensor.kind.is_parameter and not tensor.alias
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_formulas_are_what_optax_keeps(name: str):
    optimizer = optimizer_named(name)
    for model in MODELS:
        shapes = shapes_of(model)
        for dtype in ("float32", "bfloat16"):
            found = named_slots(name, map(Tensors, shapes.values()), dtype)
            assert found.bytes == kept_by(optimizer, shapes, dtype), (model, dtype)


@pytest.mark.parametrize(
    "name", ["adamw:mu=bfloat16", "lion:mu=bfloat16", "muon:mu=bf16", "amsgrad:mu=bfloat16"]
)
def test_first_moments_of_another_dtype(name: str):
    shapes = shapes_of("gpt2")
    found = named_slots(name, map(Tensors, shapes.values()), "float32")
    assert found.bytes == kept_by(optimizer_named(name), shapes, "float32")


def test_slots_are_named_as_optax_names_them():
    plan = ex.plan("gpt2", train=True)
    (term,) = [term for term in plan.terms if term.name == "optimizer"]
    size = 4 * plan.parameters
    assert term.note == f"adamw in float32: mu {size:,}, nu {size:,}, count 4"


def test_bitsandbytes_keeps_8_bits_and_a_scale_for_256_values():
    tensors = [Tensors((1000, 1000)), Tensors((4095,)), Tensors((4096,), copies=2)]
    scales = 4 * (3907 + 2 * 16)
    values = 1_000_000 + 2 * 4096
    found = named_slots("AdamW-8bit", tensors, "bfloat16")
    assert found.bytes == 2 * (values + scales + 4 * 4095) + 2 * 256 * 4
    # two bytes a parameter (stas00/ml-engineering), and scales
    plan = ex.plan("llama-3.1-8b", train=True, optimizer="adamw8bit")
    (term,) = [term for term in plan.terms if term.name == "optimizer"]
    assert term.bytes / plan.parameters == pytest.approx(2 + 8 / 256, rel=1e-3)


def test_adapters_are_tensors_of_their_own():
    # every adapter is a matrix: muon keeps one momentum of each
    workload = Workload(train=True, lora=Lora(rank=8), optimizer="muon")
    subject = published("gpt2")
    (_, state) = state_terms(subject, workload)
    trained = 12 * 8 * (768 + 2304)
    assert state.bytes == 4 * trained + 2 * 4 + 12


@pytest.mark.parametrize(
    "name", ["adamw", "novograd", "adafactor", "sm3", "muon", "adamw8bit"]
)
def test_a_device_of_a_mesh_holds_what_its_parameters_say(name: str):
    """Arrays of a parameter's shape are divided as it is, all others are whole."""
    subject, placement = published("gpt2"), Placement(mesh={"fsdp": 4, "tensor": 2})
    workload = Workload(train=True, dtype="float32", optimizer=name)
    (_, term, *_) = state_terms(subject, workload, None, placement)
    expected = 0
    for path, shape in shapes_of("gpt2").items():
        alone = named_slots(name, [Tensors(shape)], "float32")
        once = named_slots(name, [], "float32").bytes
        divided = {"adamw": 8, "novograd": 4, "sm3": 4, "muon": 4, "adafactor": 0}.get(
            name, 2
        )
        if name == "muon" and len(shape) != 2:
            divided = 8
        if name == "adafactor" and (len(shape) < 2 or min(shape) < 128):
            divided = 4
        if name == "adamw8bit" and prod(shape) < 4096:
            divided = 8
        own = divided * prod(shape)
        rest = alone.bytes - once - own
        expected += rest + own // placement.shards(path, shape)
    assert term.on_device == expected + named_slots(name, [], "float32").bytes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adamww", "optimizer: no optimizer is called 'adamww'; expected one of sgd, "),
        (
            "sgd:mu=bfloat16",
            "optimizer: sgd with 'mu=bfloat16'; expected a dtype of the first",
        ),
        (
            "adamw:nu=bfloat16",
            "optimizer: adamw with 'nu=bfloat16'; expected a dtype of the",
        ),
        ("adamw:mu=bf17", "optimizer: "),
    ],
)
def test_a_wrong_name_is_one_line(name: str, message: str):
    with pytest.raises(InputError) as raised:
        ex.plan("gpt2", train=True, optimizer=name)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    if name == "adamww":
        assert "did you mean adamw?" in str(raised.value)


def test_no_name_loads_jax():
    code = (
        "import sys, explorer as ex\n"
        f"for name in {NAMES!r}: ex.plan('gpt2', train=True, optimizer=name)\n"
        "assert not {'jax', 'numpy', 'optax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_law_of_a_toy_llama():
    """Parameters, optimizer and batch are the arguments of XLA's program, to the byte."""
    config = {
        "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 4, "vocab_size": 1000,
        "intermediate_size": 1408, "num_attention_heads": 8, "num_key_value_heads": 8,
        "tie_word_embeddings": False,
    }  # fmt: skip
    plan = ex.plan(config, train=True, context=128, batch=4, dtype="float32")
    terms = {term.name: term.bytes for term in plan.terms}
    ids = 4 * 128 * 4
    assert terms["parameters"] + terms["optimizer"] + ids == 166_486_020
    shapes = {
        tensor.path: jax.ShapeDtypeStruct(tensor.shape, "float32")
        for tensor in ex.explore(config)
        if tensor.kind.is_parameter and not tensor.alias
    }
    optimizer = optax.adamw(1e-3)

    def step(params: Any, state: Any, ids: Any) -> Any:
        def loss_of(params: Any) -> Any:
            return (
                sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(params)) * ids.sum()
            )

        grads = jax.grad(loss_of)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = nest(shapes)
    state = jax.eval_shape(optimizer.init, params)
    tokens = jax.ShapeDtypeStruct((4, 128), "int32")
    compiled: Any = jax.jit(step).lower(params, state, tokens).compile()
    assert compiled.memory_analysis().argument_size_in_bytes == 166_486_020
