"""What adapters add: one figure of add_lora, plan_lora and ex.plan, and that is peft's."""

import jax
import jax.numpy as jnp
import pytest

import explorer as ex
from explorer.sizing.settings import Lora

# printed by peft, with where; models whose shapes are in the catalogue
PUBLISHED = [
    ("qwen2.5-3b", 16, ("q_proj", "v_proj"), 3_686_400, 3_089_625_088),  # peft's README
    ("opt-6.7b", 16, ("q_proj", "v_proj"), 8_388_608, 6_666_862_592),  # examples/int8_training
    ("opt-350m", 16, ("q_proj", "v_proj"), 1_572_864, 332_769_280),  # guides
    ("gpt3-175b", 4, ("q", "v"), 18_874_368, None),  # Hu et al., table 15
    ("roberta-base", 8, ("query", "value"), 294_912, None),  # Hu et al., table 2
]  # fmt: skip
KNOWN = {entry.name for entry in ex.catalog()}


@pytest.mark.parametrize(
    ("name", "rank", "targets", "trainable", "total"),
    [case for case in PUBLISHED if case[0] in KNOWN],
)
def test_plans_are_the_figures_that_were_published(
    name: str, rank: int, targets: tuple[str, ...], trainable: int, total: int | None
):
    change = ex.plan_lora(name, rank, targets)
    assert change.trainable == trainable
    if total is not None:
        assert change.parameters_after == total


def test_published_cases_are_known():
    assert sum(case[0] in KNOWN for case in PUBLISHED) >= 2


@pytest.mark.parametrize("variant", ["lora", "dora"])
@pytest.mark.parametrize("scan", [False, True])
def test_adapters_made_planned_and_sized_are_the_same(variant: str, scan: bool):
    config = {
        "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
        "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
    }  # fmt: skip
    module = ex.build_model(config, scan=scan)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 4), int))
    params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes["params"])
    for targets in (("q_proj", "v_proj"), ("all-linear",), ("mlp",)):
        planned = ex.plan_lora(config, 4, targets, variant=variant)
        adapters, made = ex.add_lora(params, 4, targets, variant=variant, model=module)
        arrays = jax.tree.leaves(adapters)
        assert sum(array.size for array in arrays) == planned.trainable == made.trainable
        assert made.parameters_after == planned.parameters_after
        added = planned.bytes_after - planned.bytes_before
        assert sum(array.nbytes for array in arrays) == added
        assert made.bytes_after - made.bytes_before == added
        lora = Lora(rank=4, targets=targets, dora=variant == "dora")
        plan = ex.plan(config, ex.Training(lora=lora))
        terms = {term.name: term.bytes for term in plan.terms}
        assert added in terms.values(), terms
