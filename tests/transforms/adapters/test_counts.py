"""What adapters add: one figure of add_lora, plan_lora and ex.plan, and that is peft's."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import explorer as ex

OPT = {
    "model_type": "opt", "vocab_size": 50272, "hidden_size": 4096, "num_hidden_layers": 32,
    "ffn_dim": 16384, "num_attention_heads": 32, "max_position_embeddings": 2048,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
    "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("target", "trainable", "total"),
    [
        ("qwen2.5-3b", 3_686_400, 3_089_625_088),  # peft's README
        (OPT, 8_388_608, 6_666_862_592),  # examples/int8_training of peft
    ],
)
def test_plans_are_what_peft_printed(target: Any, trainable: int, total: int):
    change = ex.plan_lora(target, 16, ("q_proj", "v_proj"))
    assert (change.trainable, change.parameters_after) == (trainable, total)


@pytest.mark.parametrize("variant", ["lora", "dora"])
@pytest.mark.parametrize("scan", [False, True])
def test_adapters_made_planned_and_sized_are_the_same(variant: Any, scan: bool):
    module = ex.build_model(LLAMA, scan=scan)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 4), int))
    params = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), shapes["params"])
    for targets in (("q_proj", "v_proj"), ("all-linear",), ("mlp",)):
        planned = ex.plan_lora(LLAMA, 4, targets, variant=variant)
        adapters, made = ex.add_lora(params, 4, targets, variant=variant, model=module)
        arrays = jax.tree.leaves(adapters)
        assert sum(array.size for array in arrays) == planned.trainable == made.trainable
        assert made.parameters_after == planned.parameters_after
        added = sum(array.nbytes for array in arrays)
        assert added == planned.bytes_after - planned.bytes_before
        assert added == made.bytes_after - made.bytes_before
        lora = ex.Lora(rank=4, targets=targets, dora=variant == "dora")
        plan = ex.plan(LLAMA, train=True, lora=lora, optimizer="adamw")
        terms = {term.name: term.bytes for term in plan.terms}
        assert terms["gradients"] == added
        assert terms["optimizer"] - 2 * added in (0, 4, 8)  # and counts of steps
