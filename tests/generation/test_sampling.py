"""Which tokens are candidates, as transformers filters them; and what is drawn from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.generation.sampling import amounts_of, filtered, next_tokens, sampling_of
from explorer.generation.settings import GenerationSettings
from tests.conformance.generated import FILE, FILTERS, logits_of_filters


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_those_of_transformers(name: str):
    logits, tokens = logits_of_filters()
    settings = GenerationSettings(**FILTERS[name])
    seen = np.zeros(logits.shape, bool)
    np.put_along_axis(seen, tokens, True, 1)
    found = filtered(
        jnp.asarray(logits), sampling_of(settings), amounts_of(settings), jnp.asarray(seen)
    )
    with np.load(FILE) as file:
        golden = file[f"filters/{name}"]
    np.testing.assert_array_equal(np.isinf(found), np.isinf(golden))
    kept = np.isfinite(golden)
    np.testing.assert_allclose(np.asarray(found)[kept], golden[kept], rtol=1e-6)
    if name not in ("temperature", "penalty"):
        assert 0 < kept.sum() < kept.size


def test_draws_follow_the_probabilities():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
    settings = GenerationSettings(temperature=1.0, top_k=3)
    sampling, amounts = sampling_of(settings), amounts_of(settings)
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.jit(
        jax.vmap(lambda key: next_tokens(logits, sampling, amounts, None, key))
    )(keys)
    shares = np.bincount(np.asarray(drawn)[:, 0], minlength=4) / 4000
    np.testing.assert_allclose(shares, np.array([0.5, 0.3, 0.15, 0]) / 0.95, atol=0.03)


def test_the_likeliest_token_at_a_temperature_of_zero():
    settings = GenerationSettings()
    logits = jnp.array([[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]])
    key = jax.random.key(0)
    found = next_tokens(logits, sampling_of(settings), amounts_of(settings), None, key)
    assert found.tolist() == [1, 0]
