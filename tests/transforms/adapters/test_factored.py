"""Kernels in factors: the same numbers and gradients as kernels in effect, in less memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorer as ex
from tests.models.drawn import drawn_params
from tests.transforms.adapters.test_training import IDS, LLAMA, next_token

MOE = {
    "model_type": "mixtral", "vocab_size": 32, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
    "num_local_experts": 4, "num_experts_per_tok": 2, "max_position_embeddings": 32,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32,
    "vocab_size": 32,
}  # fmt: skip


def made(config: Any, scan: bool, variant: Any, scheme: str) -> tuple[Any, Any, Any]:
    """Return a module, its parameters and adapters whose B is not zero."""
    module = ex.build_model(config, scan=scan)
    params = drawn_params(module, IDS)
    if scheme:
        params, _ = ex.quantize(params, scheme)
    adapters, _ = ex.add_lora(params, 2, "all-linear", variant=variant, model=module)
    moved = jax.tree.map(
        lambda a: a + 0.05 * jax.random.normal(jax.random.key(a.size), a.shape), adapters
    )
    return module, params, moved


@pytest.mark.representatives("config1-True-dora-nf4", "config4-False-lora-nf4")
@pytest.mark.parametrize(
    ("config", "scan", "variant", "scheme"),
    [
        (LLAMA, True, "lora", ""),
        (LLAMA, True, "dora", "nf4"),
        (GPT2, False, "lora", "nf4"),
        (GPT2, False, "dora", ""),
        (MOE, False, "lora", "nf4"),
    ],
)
def test_loss_and_gradients_are_those_of_kernels_in_effect(
    config: Any, scan: bool, variant: str, scheme: str
):
    module, params, adapters = made(config, scan, variant, scheme)

    def loss(adapters: Any, factored: bool) -> jax.Array:
        if factored:
            used = ex.apply_lora(params, adapters, factored=True)
        else:
            used = ex.dequantize(ex.apply_lora(params, adapters))
        return next_token(module, used, IDS)

    both = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    (mine, gradients), (theirs, wanted) = both(adapters, True), both(adapters, False)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    largest = max(float(jnp.abs(each).max()) for each in jax.tree.leaves(wanted))
    assert largest > 1e-4

    def close(a: jax.Array, b: jax.Array) -> None:
        np.testing.assert_allclose(a, b, atol=2e-4 * largest, rtol=1e-3)

    jax.tree.map(close, gradients, wanted)


@pytest.mark.representatives("-True", "nf4-True")
@pytest.mark.parametrize(("scheme", "scan"), [("", False), ("", True), ("nf4", True)])
def test_the_memory_of_a_step_has_no_copy_of_the_base(scheme: str, scan: bool):
    """XLA's own sum of temporaries: with kernels in effect it holds all of them at once.

    Quantised kernels of unrolled layers are not here: XLA's CPU backend dequantises them all
    before the first layer runs, whatever barriers stand between.
    """
    config = LLAMA | {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6}
    module, params, adapters = made(config, scan, "lora", scheme)
    ids, kernels = IDS[:1, :8], 6 * (4 * 256 * 256 + 3 * 256 * 512) * 4

    def temporaries(factored: bool) -> int:
        def loss(adapters: Any, params: Any) -> jax.Array:
            used = ex.apply_lora(params, adapters, factored=factored)
            used = used if factored else ex.dequantize(used)
            return next_token(module, used, ids)

        compiled = jax.jit(jax.grad(loss)).lower(adapters, params).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    assert temporaries(False) > kernels
    assert temporaries(True) < kernels / 4
