"""Adapters trained: by Trainer and by make_train_step; the base neither moves nor has gradients."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import explorer as ex
from explorer.training import Checkpoints, Trainer, make_train_step, state_from
from explorer.transforms.adapters.extracting import extract_lora
from tests.models.drawn import drawn_params

LLAMA = {
    "model_type": "llama", "vocab_size": 32, "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
IDS = jnp.array(np.random.default_rng(0).integers(0, 32, (8, 12)))


def llama(scan: bool = False) -> tuple[Any, Any]:
    module = ex.build_model(LLAMA, scan=scan)
    return module, drawn_params(module, IDS)


def next_token(module: Any, params: Any, ids: Any) -> jax.Array:
    logits = module.apply({"params": params}, ids[:, :-1]).logits
    return optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]).mean()


def loss_of(module: Any) -> Any:
    def loss_fn(adapters: Any, batch: Any, context: Any) -> jax.Array:
        return next_token(module, ex.apply_lora(context.base, adapters), batch)

    return loss_fn


@pytest.mark.parametrize(
    ("variant", "scan"), [("lora", False), ("rslora", True), ("dora", True)]
)
def test_a_trained_adapter_merges_and_is_found_again(scan: bool, variant: Any):
    module, params = llama(scan)
    before = jax.tree.map(np.array, params)
    adapters, change = ex.add_lora(
        params, 2, ("q_proj", "v_proj"), variant=variant, model=module
    )
    trainer = Trainer(
        module, loss_of(module), optax.adam(1e-2), base=params, steps_per_call=5
    )
    state = trainer.init_from(adapters, jax.random.key(1))
    first = trainer.eval_step(state, IDS)["loss"]
    for _ in range(4):
        state, metrics = trainer.step(state, jnp.stack([IDS] * 5))
    assert float(metrics["loss"][-1]) < float(first) - 0.05
    # nothing of the state is the base, and the base is as it was
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == change.trainable
    jax.tree.map(np.testing.assert_array_equal, before, params)
    merged, _ = ex.merge_lora(params, state.params)
    whole = jax.jit(partial(next_token, module))(merged, IDS)
    np.testing.assert_allclose(whole, trainer.eval_step(state, IDS)["loss"], rtol=1e-5)
    if variant != "dora":
        again, left = extract_lora(merged, params, rank=2, architecture=module.architecture)
        assert left.relative_error is not None
        assert left.relative_error < 1e-6
        assert jax.tree.structure(jax.tree.map(jnp.shape, again)).num_leaves


def test_the_rank_is_found_by_diff():
    config = LLAMA | {"hidden_size": 128, "intermediate_size": 160}
    module = ex.build_model(config)
    params = drawn_params(module, IDS)
    adapters, _ = ex.add_lora(params, 3, ("q_proj", "down_proj"), model=module, alpha=6)
    adapters = jax.tree.map(
        lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), adapters
    )
    merged, _ = ex.merge_lora(params, adapters)
    found = ex.diff(params, merged)
    changed = [each for each in found.tensors if each.verdict != "identical"]
    assert {each.verdict for each in changed} == {"low_rank"}
    assert {each.detail.partition(",")[0] for each in changed} == {"rank 3"}
    assert {each.verdict for each in changed} == {"low_rank"}
    again, _ = ex.extract_lora(merged, params, energy=1 - 1e-7, model=module)
    assert {
        each.rank for each in jax.tree.leaves(again, is_leaf=lambda x: hasattr(x, "rank"))
    } == {3}


def test_the_base_has_no_gradient_and_is_not_a_constant():
    module, params = llama()
    adapters, _ = ex.add_lora(params, 2, "all-linear", model=module)
    step = make_train_step(loss_of(module), optax.sgd(0.1), base=params)
    state = state_from(adapters, optax.sgd(0.1), jax.random.key(0))
    traced = step.trace(state, IDS)
    constants = sum(np.size(c) for c in traced.jaxpr.consts)
    assert constants < 1000
    # that of the table would be a sum of rows scattered into its shape
    table = "f32[32,32] = scatter-add"
    assert table in str(
        jax.make_jaxpr(jax.grad(lambda p: next_token(module, p, IDS)))(params)
    )
    assert table not in str(traced.jaxpr)


@pytest.mark.parametrize("jitted", [False, True])
def test_fresh_adapters_change_nothing(jitted: bool):
    module, params = llama()
    for variant in ("lora", "rslora"):
        adapters, _ = ex.add_lora(params, 4, "all-linear", variant=variant, model=module)
        fn = jax.jit(ex.apply_lora) if jitted else ex.apply_lora
        jax.tree.map(np.testing.assert_array_equal, fn(params, adapters), params)
        merged, change = ex.merge_lora(params, adapters)
        assert change.relative_error == 0.0
        for a, b in zip(jax.tree.leaves(merged), jax.tree.leaves(params), strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_checkpoints_hold_adapters_alone(tmp_path: Path):
    module, params = llama()
    adapters, change = ex.add_lora(params, 2, "q", model=module)
    trainer = Trainer(None, loss_of(module), optax.adam(1e-2), base=params)
    state, _ = trainer.step(trainer.init_from(adapters, jax.random.key(0)), IDS)
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(state)
        checkpoints.wait()
        restored = checkpoints.restore(trainer.init_from(adapters, jax.random.key(0)))
    assert restored is not None
    jax.tree.map(np.testing.assert_array_equal, restored.state.params, state.params)
    saved = ex.explore(tmp_path / "run" / "1").select("params/**").num_parameters
    assert saved == change.trainable


def test_micro_batches_have_the_base_too():
    module, params = llama()
    adapters, _ = ex.add_lora(params, 2, "q", model=module)
    found = []
    for accumulate in (1, 4):
        trainer = Trainer(
            None, loss_of(module), optax.sgd(1.0), base=params, accumulate=accumulate
        )
        state, _ = trainer.step(trainer.init_from(adapters, jax.random.key(0)), IDS)
        found.append(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *found)


def test_a_linen_model_of_a_user():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.MultiHeadDotProductAttention(num_heads=2)(nn.Dense(8)(x))
            return nn.Dense(1)(x)

    x = jax.random.normal(jax.random.key(0), (16, 3, 4))
    params = Net().init(jax.random.key(1), x)["params"]
    names = ("Dense_0", "query", "out")
    adapters, change = ex.add_lora(params, 1, names)
    assert change.trainable == (4 + 8) + (8 + 8) + (8 + 8)
    trainer = Trainer(
        Net(),
        lambda a, b, c: jnp.square(
            Net().apply({"params": ex.apply_lora(c.base, a)}, b) - 1
        ).mean(),
        optax.adam(0.05),
        base=params,
    )
    state = trainer.init_from(adapters, jax.random.key(2))
    first = float(trainer.eval_step(state, x)["loss"])
    for _ in range(20):
        state, _ = trainer.step(state, x)
    assert float(trainer.eval_step(state, x)["loss"]) < first / 2


def test_an_nnx_model_of_a_user():
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.up = nnx.Linear(4, 16, rngs=rngs)
            self.down = nnx.Linear(16, 1, rngs=rngs)

        def __call__(self, x):
            return self.down(nnx.relu(self.up(x)))

    graph, params = nnx.split(Net(nnx.Rngs(0)))
    adapters, change = ex.add_lora(params, 1, ("up", "down"))
    assert change.trainable == (4 + 16) + (16 + 1)

    def loss_fn(adapters, batch, context):
        model = nnx.merge(graph, ex.apply_lora(context.base, adapters))
        return jnp.square(model(batch) - 1).mean()

    step = make_train_step(loss_fn, optax.adam(0.05), base=params)
    state, x = state_from(adapters, optax.adam(0.05), jax.random.key(0)), jnp.ones((8, 4))
    state, metrics = step(state, x)
    for _ in range(20):
        state, last = step(state, x)
    assert float(last["loss"]) < float(metrics["loss"]) / 2


def test_an_equinox_model_of_a_user():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(4, 2, 16, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_array)
    adapters, change = ex.add_lora(params, 2, "**/weight")
    assert change.trainable == 2 * (4 + 16) + 2 * (16 + 2)
    x = jnp.ones(4)
    again = eqx.combine(ex.apply_lora(params, adapters), static)
    np.testing.assert_array_equal(again(x), model(x))
