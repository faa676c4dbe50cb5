"""Costs of single tensors against the model with that tensor changed; mixes against brute force."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import InputError
from explorer.transforms.evaluation import Evaluator
from explorer.transforms.sensitivity import Sensitivity, TensorCost, measure_sensitivity


def _apply(params, tokens):
    return jax.nn.relu(params["table"][tokens] @ params["up"]) @ params["down"]


def test_each_tensor_is_changed_alone():
    draw = np.random.default_rng(0)
    params = {
        "table": draw.normal(size=(10, 6)).astype("f4"),
        "up": draw.normal(size=(6, 12)).astype("f4"),
        "down": draw.normal(size=(12, 10)).astype("f4"),
    }
    evaluator = Evaluator(_apply, draw.integers(0, 10, (3, 6)))

    def coarse(name, leaf):
        return np.round(leaf * 2) / 2, leaf.size // 2

    found = measure_sensitivity(
        params, lambda new: params | new, {"coarse": coarse}, evaluator, "toy"
    )
    assert found.tokens == 15
    assert found.loss == pytest.approx(evaluator.loss(params))
    for name, leaf in params.items():
        cost = next(c for c in found.costs if (c.name, c.scheme) == (name, "coarse"))
        changed = params | {name: jnp.round(leaf * 2) / 2}
        wanted = evaluator.compare(params, changed)
        assert (cost.loss, cost.divergence) == (wanted.loss_after, wanted.divergence)
        assert (cost.bytes, cost.parameters) == (leaf.size // 2, leaf.size)
    worst = [cost.divergence for cost in found.costs if cost.scheme]
    assert worst == sorted(worst, reverse=True)


def _sensitivity(tables: list[list[tuple[int, float]]]) -> Sensitivity:
    costs = [
        TensorCost(
            name=f"t{number}", scheme=f"s{size}", parameters=1, bytes=size, loss=0.0, divergence=cost
        )
        for number, table in enumerate(tables)
        for size, cost in table
    ]  # fmt: skip
    return Sensitivity(target="t", loss=0.0, tokens=1, costs=tuple(costs))


_TABLES = st.lists(
    st.lists(
        st.tuples(st.integers(1, 20), st.floats(0, 1)), min_size=1, max_size=4,
        unique_by=lambda pair: pair[0],
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@given(_TABLES, st.integers(0, 80))
def test_a_mix_is_within_its_budget_and_near_the_best(tables, budget: int):
    found, least = _sensitivity(tables), sum(min(s for s, _ in table) for table in tables)
    if budget < least:
        with pytest.raises(InputError, match=f"{least} or more"):
            found.mix(budget)
        return
    mix = found.mix(budget)
    assert mix.bytes <= budget
    assert set(mix.schemes) == {f"t{number}" for number in range(len(tables))}
    all_mixes = [
        (sum(s for s, _ in choice), sum(c for _, c in choice))
        for choice in product(*tables)
    ]
    best = min(cost for size, cost in all_mixes if size <= budget)
    smallest = sum(dict(table)[min(s for s, _ in table)] for table in tables)
    assert best - 1e-9 <= mix.divergence <= smallest + 1e-9
    if budget >= 20 * len(tables):  # everything fits: then nothing is lost
        assert mix.divergence == pytest.approx(best)
