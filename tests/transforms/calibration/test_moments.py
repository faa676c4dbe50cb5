"""What flows into linear layers: against inputs that are known, and by another road."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import explorer as ex
from explorer.errors import InputError
from explorer.models.small import MultilayerPerceptron
from explorer.models.stacking import stack_layers
from explorer.transforms.calibration.layerwise import (
    first_states,
    layer_moments,
    next_states,
)
from tests.conformance import configs
from tests.conformance.configs import VOCAB
from tests.models.drawn import drawn_params


def made(config: Any, **settings: Any) -> tuple[Any, Any, np.ndarray]:
    model = ex.build_model(config, **settings)
    ids = np.random.default_rng(0).integers(1, VOCAB, (3, 2, 9))
    params = drawn_params(model, ids[0])
    return model, params, ids


def test_a_perceptron_by_hand():
    model = MultilayerPerceptron((6, 3))
    rng = np.random.default_rng(1)
    batches = rng.normal(size=(4, 5, 7)).astype("float32")
    params = model.init(jax.random.key(0), jnp.asarray(batches[0]))["params"]
    found = ex.gather_moments(model, params, list(batches))
    x = batches.reshape(-1, 7)
    np.testing.assert_allclose(
        found["layers_0/kernel"].hessian, x.T @ x, rtol=1e-5, atol=1e-5
    )
    first = params["layers_0"]
    hidden = np.maximum(x @ np.asarray(first["kernel"]) + np.asarray(first["bias"]), 0)
    moments = found["layers_1/kernel"]
    np.testing.assert_allclose(moments.hessian, hidden.T @ hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.squares, np.square(hidden).sum(0), rtol=1e-4)
    np.testing.assert_allclose(moments.absolute, np.abs(hidden).sum(0), rtol=1e-4)
    assert int(moments.tokens) == 20


def test_flax_attention_by_its_kernels():
    """Kernels of three axes: the output of a layer is what its moments say it is."""
    model = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8)
    x = np.random.default_rng(2).normal(size=(2, 5, 6)).astype("float32")
    params = model.init(jax.random.key(0), jnp.asarray(x))["params"]
    found = ex.gather_moments(model, params, {"inputs": x}, hessians=True)
    rows = x.reshape(-1, 6)
    for name in ("query", "key", "value"):
        np.testing.assert_allclose(
            found[f"{name}/kernel"].hessian, rows.T @ rows, rtol=1e-4, atol=1e-5
        )
    assert found["out/kernel"].hessian is not None
    assert found["out/kernel"].hessian.shape == (8, 8)
    y = np.asarray(model.apply({"params": params}, jnp.asarray(x))).reshape(-1, 6)
    kernel = np.asarray(params["out"]["kernel"]).reshape(8, 6)
    squares = kernel.T @ np.asarray(found["out/kernel"].hessian) @ kernel
    np.testing.assert_allclose(squares, y.T @ y, rtol=1e-3, atol=1e-4)
    pruned, change = ex.prune(params, "0.5", "wanda", model=model, data={"inputs": x})
    assert change.zeros == sum(k.size for k in jax.tree.leaves(pruned) if k.ndim == 3) // 2


@pytest.mark.representatives("MIXTRAL", "V3")
@pytest.mark.parametrize("name", ["MIXTRAL", "V3", "GPT2"])
def test_layer_by_layer_is_the_whole_model(name: str):
    model, params, ids = made(getattr(configs, name))
    whole = ex.gather_moments(model, params, list(ids))
    states = first_states(model, params, list(ids))
    seen = 0
    for index in range(model.architecture.num_layers):
        layer = params[f"layers_{index}"]
        for key, moments in layer_moments(model, index, layer, states, True).items():
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4),
                moments,
                whole[key],
            )
            seen += 1
        states = next_states(model, index, layer, states)
    assert seen == sum(key.startswith("layers_") for key in whole)


def test_stacked_layers_are_the_single_ones():
    model, params, ids = made(configs.MIXTRAL)
    single = ex.gather_moments(model, params, list(ids))
    stacked = ex.gather_moments(
        model.clone(scan=True), stack_layers(params, model.architecture), list(ids)
    )
    for key, moments in stacked.items():
        if key.startswith("stages_0/block_0/"):
            rest = key.removeprefix("stages_0/block_0/")
            for index in (0, 1):
                np.testing.assert_allclose(
                    moments.hessian[index],  # pyright: ignore[reportOptionalSubscript]
                    single[f"layers_{index}/{rest}"].hessian,
                    rtol=2e-3,
                    atol=1e-4,
                )


def test_padding_is_left_out():
    model, params, ids = made(configs.BERT)
    padded = np.concatenate([ids[0], np.zeros((2, 4), int)], 1)
    mask = np.concatenate([np.ones((2, 9), int), np.zeros((2, 4), int)], 1)
    plain = ex.gather_moments(model, params, ids[0])
    found = ex.gather_moments(model, params, {"input_ids": padded, "attention_mask": mask})
    for key in plain:
        if key.startswith("layers_"):
            np.testing.assert_allclose(
                found[key].hessian, plain[key].hessian, rtol=2e-3, atol=1e-4
            )
            assert int(found[key].tokens) == 18


def test_experts_see_the_tokens_that_are_sent_to_them():
    model, params, ids = made(configs.MIXTRAL)
    found = ex.gather_moments(model, params, ids[0])
    moments = found["layers_0/moe/experts/up_proj/kernel"]
    assert moments.tokens.shape == (4,)
    assert int(moments.tokens.sum()) == 2 * 18  # two experts a token
    diagonals = np.asarray(jnp.diagonal(moments.hessian, axis1=1, axis2=2))
    np.testing.assert_allclose(diagonals, moments.squares, rtol=1e-4, atol=1e-6)


def test_bad_data():
    model, params, _ = made(configs.LLAMA)
    with pytest.raises(InputError, match="no batches; expected at least one"):
        ex.gather_moments(model, params, [])
    with pytest.raises(InputError, match="model: is dict; expected a Linen module"):
        ex.gather_moments({}, params, [])  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="has no linear layer that data pass through"):
        ex.gather_moments(
            nn.LayerNorm(), {"scale": jnp.ones(3), "bias": jnp.ones(3)}, [jnp.ones((2, 3))]
        )
