"""AWQ folded into whole models, and GPTQ of them: the same function, and smaller errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.transforms.calibration.folding import fold_scales
from explorer.transforms.calibration.grids import pseudo_quantised
from explorer.transforms.calibration.quantising import gptq_model
from tests.conformance import configs
from tests.conformance.configs import VOCAB


def made(name: str) -> tuple[Any, Any, np.ndarray]:
    model = ex.build_model(getattr(configs, name))
    rng = np.random.default_rng(3)
    ids = rng.integers(1, VOCAB, (6, 12))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(ids))["params"]
    params = jax.tree.map(
        lambda s: jnp.asarray(
            rng.normal(size=s.shape, scale=0.2 if len(s.shape) > 1 else 0.7), s.dtype
        ),
        shapes,
    )
    return model, params, ids


def hidden(model: Any, params: Any, ids: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(model.apply)({"params": params}, ids).hidden)


def rounded(params: Any) -> Any:
    """Kernels of layers in 3 bits, in groups of 8 inputs."""

    def each(keys: Any, leaf: Any) -> Any:
        names = [key.key for key in keys]
        is_kernel = names[-1] == "kernel" and leaf.ndim == 2 and "layers" in names[0]
        return pseudo_quantised(leaf.T, 3, 8).T if is_kernel else leaf

    return jax.tree_util.tree_map_with_path(each, params)


@pytest.mark.representatives("LLAMA", "GEMMA3", "PHI", "MIXTRAL")
@pytest.mark.parametrize(
    "name", ["LLAMA", "GEMMA3", "GPT2", "PHI", "NEOX", "MIXTRAL", "BERT"]
)
def test_a_folded_model_computes_the_same(name: str):
    model, params, ids = made(name)
    found = fold_scales(model, params, ids, 3, 8)
    before = hidden(model, params, ids)
    np.testing.assert_allclose(
        hidden(model, found.params, ids), before, rtol=2e-3, atol=2e-3
    )
    assert found.scales or name == "BERT"
    for each in found.scales.values():
        assert each.error <= each.plain
    changed = any(each.power > 0 for each in found.scales.values())
    assert changed or name in ("BERT", "MIXTRAL")


@pytest.mark.parametrize("name", ["GEMMA3", "GPT2"])
def test_rounded_layers_lose_less_when_folded(name: str):
    """The mean squared error of queries, keys and values on the inputs that each layer sees."""
    model, params, ids = made(name)
    found = fold_scales(model, params, ids, 3, 8)
    small = rounded(found.params)
    plain = rounded(params)
    moments = ex.gather_moments(model, params, ids)
    for index in range(model.architecture.num_layers):
        fold = found.scales[f"layers_{index}/attention_norm"]
        errors = np.zeros(2)
        for part in ("query", "key", "value"):
            seen = moments[f"layers_{index}/attention/{part}/kernel"]
            hessian = np.asarray(seen.hessian, float) / float(seen.tokens)
            kernel = np.asarray(
                params[f"layers_{index}"]["attention"][part]["kernel"], float
            )
            # inputs were divided, and the values' outputs, where each head has its own
            back = np.asarray(fold.scales)[:, None]
            own = found.scales.get(f"layers_{index}/attention/{part}")
            back = back if own is None else back / np.asarray(own.scales)
            for number, after in enumerate(
                (
                    np.asarray(plain[f"layers_{index}"]["attention"][part]["kernel"]),
                    np.asarray(small[f"layers_{index}"]["attention"][part]["kernel"])
                    / back,
                )
            ):
                change = after - kernel
                errors[number] += np.einsum("io,ij,jo", change, hessian, change)
        np.testing.assert_allclose(errors, [fold.plain, fold.error], rtol=0.02)
        assert errors[1] <= errors[0]


@pytest.mark.parametrize("act_order", [False, True])
def test_gptq_of_a_model(act_order: bool):
    model, params, ids = made("LLAMA")
    before = hidden(model, params, ids)
    found = gptq_model(model, params, ids, 3, 8, act_order)
    assert len(found.kernels) == 14
    kernel = found.kernels["layers_1/mlp/down_proj/kernel"]
    after = found.params["layers_1"]["mlp"]["down_proj"]["kernel"]
    np.testing.assert_array_equal(kernel.values.T, after)
    errors = [
        np.square(hidden(model, tree, ids) - before).sum()
        for tree in (found.params, rounded(params))
    ]
    assert errors[0] < errors[1]


def test_groups_that_do_not_divide():
    model, params, ids = made("LLAMA")
    with pytest.raises(
        InputError, match=r"layers_0/.*: 7 for 32 inputs; expected a divisor"
    ):
        gptq_model(model, params, ids, 4, 7)
    with pytest.raises(InputError, match="model: dict; expected one of explorer's own"):
        gptq_model({}, params, ids)  # pyright: ignore[reportArgumentType]
