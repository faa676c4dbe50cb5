"""Each layer against its definition, in float64 NumPy or by brute force."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.architectures.specs import (
    EmbeddingSpec,
    LayerSpec,
    LinearSpec,
    NormSpec,
    PatchesSpec,
    TokenSpec,
)
from explorer.models.attention import attend
from explorer.models.embeddings import Embedding, Patches, Token
from explorer.models.feedforward import ACTIVATIONS, Mlp
from explorer.models.linear import Linear
from explorer.models.masks import build_mask
from explorer.models.norms import Norm
from tests.models import definitions
from tests.models.definitions import mlp_of, mlp_spec, randomised, sample, softmax

pytestmark = pytest.mark.slow  # compiles models

KEY = jax.random.key(0)


# ---- norms and linear layers


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("gain", [None, "plain", "centred"])
@pytest.mark.parametrize("bias", [False, True])
def test_norms_are_their_definition(kind, gain, bias):
    spec = NormSpec(6, 1e-3, kind, gain is not None, bias, gain == "centred")
    x = sample(2, 3, 6) + 2
    variables = Norm(spec).init(KEY, x)
    chex.assert_trees_all_equal_shapes(variables.get("params", {}), _zeros(spec))
    params = randomised(variables.get("params", {}))
    wide = x.astype(np.float64)
    if kind == "layer":
        wide = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(
            wide.var(-1, keepdims=True) + 1e-3
        )
    else:
        wide = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-3)
    if gain:
        wide = wide * (params["scale"] + (gain == "centred"))
    if bias:
        wide = wide + params["bias"]
    np.testing.assert_allclose(Norm(spec).apply({"params": params}, x), wide, atol=2e-6)


def _zeros(spec: LayerSpec) -> dict:
    return {name: np.zeros(shape) for name, shape in spec.parameters().items()}


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_a_new_norm_multiplies_by_one(kind):
    x = sample(4, 8)
    plain = Norm(NormSpec(8, 1e-6, kind, gain=False)).apply({}, x)
    for centred in (False, True):
        new, _ = Norm(NormSpec(8, 1e-6, kind, True, True, centred)).init_with_output(KEY, x)
        np.testing.assert_array_equal(new, plain)


def test_norms_are_computed_in_float32_whatever_comes_in():
    norm = Norm(NormSpec(512, 1e-6, gain=False))
    x = jnp.full((1, 512), 300.0, jnp.float16)  # its square is beyond float16
    y = norm.apply({}, x)
    assert y.dtype == jnp.float16
    np.testing.assert_array_equal(y, np.ones((1, 512)))


def test_a_linear_layer_computes_in_the_format_of_its_input():
    spec = LinearSpec(3, 2, bias=True)
    params = randomised(Linear(spec).init(KEY, jnp.ones((1, 3)))["params"])
    x = sample(4, 3)
    wide = x.astype(np.float64) @ params["kernel"] + params["bias"]
    y = Linear(spec).apply({"params": params}, x)
    np.testing.assert_allclose(y, wide, atol=1e-6)
    assert (
        Linear(spec).apply({"params": params}, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    )


# ---- feed-forward


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_definition(name):
    x = np.linspace(-6, 6, 101)
    found = ACTIVATIONS[name](x.astype(np.float32))
    np.testing.assert_allclose(found, definitions.ACTIVATIONS[name](x), atol=2e-6)


@pytest.mark.parametrize(
    "spec",
    [
        mlp_spec(False, True, activation="gelu"),
        mlp_spec(True, activation="silu"),
        mlp_spec(True, True, activation="quick_gelu", limit=0.5, up_offset=1.0),
    ],
    ids=["plain", "gated", "bounded"],
)
def test_feed_forward_networks_are_their_definition(spec):
    x = sample(2, 3, 4)
    params = randomised(Mlp(spec).init(KEY, x)["params"])
    found = Mlp(spec).apply({"params": params}, x)
    np.testing.assert_allclose(found, mlp_of(spec, params, x), atol=2e-6)


# ---- attention


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("padded", [False, True])
def test_masks_by_brute_force(causal, window, padded):
    kept = np.array([[0, 1, 1, 1, 1], [1, 1, 1, 1, 0]]) if padded else None
    mask = build_mask(5, causal, window, kept if kept is None else jnp.asarray(kept))
    for b, q, k in np.ndindex(2, 5, 5):
        sees = (not causal or k <= q) and (window is None or abs(q - k) < window)
        sees = sees and (kept is None or bool(kept[b, k]))
        found = (
            True if mask is None else bool(jnp.broadcast_to(mask, (2, 1, 5, 5))[b, 0, q, k])
        )
        assert found == sees


@pytest.mark.parametrize("shared", [1, 2, 4])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("value_size", [6, 3])
def test_attention_is_its_definition(shared, softcap, sink, value_size):
    query, key = sample(2, 5, 4, 6, seed=1), sample(2, 5, shared, 6, seed=2)
    value = sample(2, 5, shared, value_size, seed=3)
    sinks = sample(4, seed=4) if sink else None
    mask = build_mask(5, True, 3)
    found = attend(query, key, value, mask, sinks, 0.7, softcap)
    for b, h, q in np.ndindex(2, 4, 5):
        group = h // (4 // shared)
        seen = [k for k in range(5) if q - 3 < k <= q]
        logits = 0.7 * key[b, seen, group].astype(np.float64) @ query[b, q, h]
        if softcap:
            logits = softcap * np.tanh(logits / softcap)
        if sinks is not None:
            logits = np.append(logits, sinks[h])
        shares = softmax(logits)[: len(seen)]
        expected = shares @ value[b, seen, group]
        np.testing.assert_allclose(np.asarray(found)[b, q, h], expected, atol=2e-6)


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("sink", [False, True])
def test_a_query_that_sees_nothing_is_finite_and_so_are_gradients(softcap, sink):
    x = jnp.asarray(sample(1, 3, 2, 4))
    sinks = jnp.zeros(2) if sink else None
    mask = jnp.zeros((1, 1, 3, 3), bool)

    def total(x):
        return attend(x, x, x, mask, sinks, 0.5, softcap).sum()

    chex.assert_tree_all_finite(jax.value_and_grad(total)(x))


# ---- embeddings


def test_patches_are_taken_row_by_row():
    spec = PatchesSpec(patch=2, channels=3, size=5, image=6)
    pixels = sample(2, 6, 6, 3)
    params = randomised(Patches(spec).init(KEY, pixels)["params"])
    found = np.asarray(Patches(spec).apply({"params": params}, pixels))
    assert found.shape == (2, spec.count, 5)
    for row, column in np.ndindex(3, 3):
        patch = pixels[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        expected = np.tensordot(patch, params["kernel"], 3) + params["bias"]
        np.testing.assert_allclose(found[:, 3 * row + column], expected, atol=1e-5)


def test_an_index_is_looked_up_after_its_offset_and_one_beyond_is_not_a_number():
    spec = EmbeddingSpec(5, 3, offset=2)
    params = randomised(Embedding(spec).init(KEY, jnp.zeros((1, 1), int))["params"])
    found = Embedding(spec).apply({"params": params}, jnp.array([[0, 2, 3]]))
    np.testing.assert_array_equal(found[0, :2], params["embedding"][[2, 4]])
    assert np.isnan(found[0, 2]).all()


def test_a_class_token_goes_first():
    x = sample(2, 3, 4)
    token, params = Token(TokenSpec(4)).init_with_output(KEY, x)
    np.testing.assert_array_equal(token[:, 1:], x)
    first = params["params"]["embedding"]
    np.testing.assert_array_equal(token[:, :1], np.tile(first, (2, 1, 1)))
