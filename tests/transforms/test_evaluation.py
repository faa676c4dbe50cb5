"""Loss, agreement and divergence against the same figures in NumPy's float64."""

import chex
import jax
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.transforms.evaluation import Evaluator
from tests.models.drawn import drawn_params

_CONFIG = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "vocab_size": 30, "max_position_embeddings": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    module = ex.build_model(_CONFIG)
    ids = np.random.default_rng(0).integers(0, 30, (5, 9))
    return module, drawn_params(module, ids), ids


def _likelihoods(module, params, ids) -> np.ndarray:
    logits = np.asarray(jax.jit(module.apply)({"params": params}, ids).logits, np.float64)[
        :, :-1
    ]
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("batch", [1, 2, 5, 7])
def test_against_numpy(model, batch: int):
    module, before, ids = model
    after = jax.tree.map(lambda leaf: leaf * 1.1, before)
    found = Evaluator(module, ids, batch=batch).compare(before, after)
    first, second = (_likelihoods(module, params, ids) for params in (before, after))
    targets = ids[:, 1:, None]
    assert found.tokens == 40
    for loss, each in ((found.loss_before, first), (found.loss_after, second)):
        assert loss == pytest.approx(
            -np.take_along_axis(each, targets, -1).mean(), rel=1e-5
        )
    assert found.agreement == (first.argmax(-1) == second.argmax(-1)).mean()
    divergence = (np.exp(first) * (first - second)).sum(-1).mean()
    assert found.divergence == pytest.approx(divergence, rel=1e-3)
    assert Evaluator(module, ids, batch=batch).loss(after) == pytest.approx(
        found.loss_after
    )


def test_unchanged_parameters_lose_nothing(model):
    module, params, ids = model
    found = Evaluator(module, ids).compare(params, params)
    assert (found.agreement, found.divergence) == (1.0, 0.0)
    assert found.loss_before == found.loss_after


def test_a_text_is_cut_and_a_function_will_do(model):
    module, params, ids = model
    whole = Evaluator(module, ids).loss(params)
    text = Evaluator(
        lambda params, tokens: module.apply({"params": params}, tokens).logits,
        [*ids.reshape(-1), 1, 2],
        length=9,
    )
    assert text.loss(params) == pytest.approx(whole, rel=1e-6)


def test_one_trace_for_batches_of_one_shape(model):
    module, params, ids = model
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=1)
    def logits(params, tokens):
        return module.apply({"params": params}, tokens).logits

    evaluator = Evaluator(logits, ids)
    assert evaluator.loss(params) == evaluator.loss(params)


@pytest.mark.parametrize(
    ("tokens", "settings", "message"),
    [
        (np.zeros((2, 1), int), {}, "has shape [2, 1]"),
        (np.zeros(5, int), {}, "has shape [5]; expected ids [sequences, length], or [n]"),
        (np.zeros((2, 3)), {}, "is of float64"),
        ([[1, 2], [3]], {}, "sequences of unequal length"),
        ([[1, -2]], {}, "holds -2; expected ids of 0 or more"),
        (None, {}, "tokens: is None"),
        ([[1, 2]], {"batch": 0}, "batch: is 0"),
        ([1, 2], {"length": 1}, "has shape [2]"),
    ],
)
def test_slips(tokens: object, settings: dict, message: str):
    with pytest.raises(InputError) as error:
        Evaluator(lambda params, tokens: tokens, tokens, **settings)
    assert message in str(error.value)


def test_a_token_outside_the_vocabulary(model):
    module, params, _ = model
    with pytest.raises(InputError, match=r"tokens: holds 30; expected ids below 30"):
        Evaluator(module, [[1, 30]]).loss(params)
