"""Mixtures of experts against brute force: every set of experts tried, every expert run."""

import itertools

import chex
import jax
import numpy as np
import pytest

from explorer.architectures.specs import ExpertsSpec, RouterSpec
from explorer.models.experts import Experts, route
from tests.models.definitions import mlp_of, mlp_spec, randomised, sample, sigmoid, softmax

pytestmark = pytest.mark.slow  # compiles models

KEY = jax.random.key(0)
RULES = [
    RouterSpec(size=4, experts=8, per_token=2),
    RouterSpec(size=4, experts=8, per_token=3, normalize=True, bias=True),
    RouterSpec(size=4, experts=8, per_token=8, normalize=True, scale=2.0),
    RouterSpec(size=4, experts=8, per_token=1, score="sigmoid", normalize=True),
    RouterSpec(size=4, experts=8, per_token=2, groups=4, top_groups=2, scale=16.0),
    RouterSpec(
        size=4,
        experts=8,
        per_token=3,
        score="sigmoid",
        normalize=True,
        scale=2.5,
        groups=4,
        top_groups=2,
        group_score="two_best",
        correction=True,
    ),
]


def by_brute_force(spec: RouterSpec, logits, correction) -> tuple[set[int], dict]:
    """Return the best allowed set of experts by trying all, and each one's weight."""
    scores = sigmoid(logits) if spec.score == "sigmoid" else softmax(logits)
    ranks = scores + correction
    each = spec.experts // spec.groups
    groups = [range(g * each, (g + 1) * each) for g in range(spec.groups)]
    best = 2 if spec.group_score == "two_best" else 1

    def worth(group) -> float:
        return max(sum(ranks[list(some)]) for some in itertools.combinations(group, best))

    taken = max(
        itertools.combinations(groups, spec.top_groups if spec.groups > 1 else 1),
        key=lambda some: sum(map(worth, some)),
    )
    allowed = list(itertools.chain.from_iterable(taken))
    chosen = max(
        itertools.combinations(allowed, spec.per_token),
        key=lambda some: sum(ranks[list(some)]),
    )
    total = sum(scores[list(chosen)]) if spec.normalize else 1.0
    return set(chosen), {e: spec.scale * scores[e] / total for e in chosen}


@pytest.mark.parametrize("spec", RULES)
def test_routers_choose_as_brute_force(spec):
    logits = sample(2, 15, spec.experts, scale=2.0)
    correction = sample(spec.experts, seed=9) if spec.correction else None
    weights, chosen = route(spec, logits, correction)
    chex.assert_shape((weights, chosen), (2, 15, spec.per_token))
    added = np.zeros(spec.experts) if correction is None else correction
    for at in np.ndindex(2, 15):
        best, expected = by_brute_force(spec, logits[at].astype(np.float64), added)
        found = dict(zip(np.asarray(chosen)[at].tolist(), np.asarray(weights)[at]))
        assert set(found) == best
        for expert in best:
            np.testing.assert_allclose(found[expert], expected[expert], rtol=1e-5)


def test_softmax_over_the_chosen_is_softmax_chosen_and_normalised():
    spec = RouterSpec(size=4, experts=8, per_token=4, normalize=True)
    logits = sample(20, 8, scale=3.0)
    weights, _ = route(spec, logits)
    best = -np.sort(-logits)[:, :4]  # gpt-oss and Mixtral state the same rule differently
    np.testing.assert_allclose(weights, softmax(best.astype(np.float64)), rtol=1e-5)


@pytest.mark.parametrize("spec", RULES)
def test_ragged_experts_equal_a_dense_loop(spec):
    bias = spec.bias or spec.correction
    mlp = mlp_spec(True, bias, spec.experts, activation="silu")
    shared = mlp_spec(True, activation="silu") if bias else None
    layer = ExpertsSpec(router=spec, experts=mlp, shared_experts=shared)
    x = sample(2, 7, 4)
    params = randomised(Experts(layer).init(KEY, x)["params"])
    found, state = jax.jit(
        lambda p, x: Experts(layer).apply({"params": p}, x, mutable="intermediates")
    )(params, x)
    wide, router = x.astype(np.float64), params["router"]
    logits = wide @ router["kernel"] + router.get("bias", 0)
    added = router.get("e_score_correction_bias", np.zeros(spec.experts))
    dense = np.zeros_like(wide)
    sown = np.zeros((2, 7, spec.per_token))
    for at in np.ndindex(2, 7):
        chosen, weights = by_brute_force(spec, logits[at], added)
        sown[at] = sorted(chosen)
        for e in chosen:
            one = jax.tree.map(lambda leaf, e=e: leaf[e], params["experts"])
            dense[at] += weights[e] * mlp_of(mlp, one, wide[at])
    if shared:
        dense += mlp_of(shared, params["shared_experts"], wide)
    np.testing.assert_allclose(found, dense, atol=1e-5 * np.abs(dense).max())
    indices = state["intermediates"]["expert_indices"][0]
    np.testing.assert_array_equal(np.sort(indices), sown)
    found_logits = state["intermediates"]["router"]["router_logits"][0]
    np.testing.assert_allclose(found_logits, logits, atol=1e-5 * np.abs(logits).max())
