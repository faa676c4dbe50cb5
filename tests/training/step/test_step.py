"""The step: traced once, the same however it is taken, nothing kept that is not needed."""

import dataclasses
import gc
import re
import resource
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import explorer as ex
from explorer.training.step.evaluation import make_eval_step
from explorer.training.step.state import create_state
from explorer.training.step.train_step import make_train_step
from explorer.training.watch.watch import Watch
from tests.training import tiny

ADAM, DESCENT = optax.adamw(1e-2), optax.sgd(0.1, momentum=0.9)
close = partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)


def trained(step, state, batches):
    """Return the state after some batches, and the metrics of each."""
    seen = []
    for batch in batches:
        state, metrics = step(state, batch)
        seen.append(metrics)
    return state, seen


def values(state):
    """Return what a state holds, its key as numbers."""
    return jax.tree.leaves(state.replace(rng=jax.random.key_data(state.rng)))


def test_a_step_is_plain_gradient_descent():
    # oracle: gradients of y = a x + b written down by hand, in NumPy
    x = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    y = 2 * x + 1
    state = tiny.first_state(tiny.LINE, optax.sgd(0.1), x)
    a, b = (np.array(state.params["linear"][name]).item() for name in ("kernel", "bias"))
    step = make_train_step(tiny.squares(tiny.LINE), optax.sgd(0.1))
    for number in range(1, 6):
        missed = a * x + b - y
        by_a, by_b = 2 * (missed * x).mean(), 2 * missed.mean()
        state, metrics = step(state, (x, y))
        np.testing.assert_allclose(metrics["loss"], (missed**2).mean(), rtol=1e-5)
        np.testing.assert_allclose(metrics["grad_norm"], np.hypot(by_a, by_b), rtol=1e-5)
        np.testing.assert_allclose(metrics["missed"], np.abs(missed).mean(), rtol=1e-5)
        a, b = a - 0.1 * by_a, b - 0.1 * by_b
        found = state.params["linear"]
        np.testing.assert_allclose(found["kernel"].item(), a, rtol=1e-5)
        np.testing.assert_allclose(found["bias"].item(), b, rtol=1e-5)
        assert int(state.step) == number
        assert bool(metrics["finite"])


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2}, {"steps_per_call": 3}, {"remat": "dots"}]
)
def test_the_loss_is_traced_once(options):
    chex.clear_trace_counter()
    loss_fn = chex.assert_max_traces(tiny.squares(tiny.NETWORK), n=1)
    # hyperparameters in the state begin as plain Python floats
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.1)
    step = make_train_step(loss_fn, optimizer, **options)
    parts = tiny.batches(3)
    given = [tiny.stacked(parts)] * 4 if "steps_per_call" in options else parts * 4
    state = tiny.first_state(tiny.NETWORK, optimizer, tiny.points(1)[0])
    state, _ = trained(step, state, given)
    assert int(state.step) == 12


class JittedOrNot(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_same_numbers(self):
        step = make_train_step(tiny.squares(tiny.LINE), DESCENT)
        # the function that was jitted
        free = self.variant(step.__wrapped__)  # pyright: ignore
        x = tiny.points(8, outputs=1)[1]
        state = partial(tiny.first_state, tiny.LINE, DESCENT, x)
        ours, seen = trained(step, state(), [(x, 1 + x)] * 2)
        theirs, others = trained(free, state(), [(x, 1 + x)] * 2)
        close(values(ours), values(theirs))
        close(seen, others)


def test_steps_of_one_call_are_single_steps():
    loss_fn = tiny.squares(tiny.NETWORK)
    parts = tiny.batches(5)
    one, seen = trained(make_train_step(loss_fn, ADAM), tiny.network_state(ADAM), parts)
    scanned = make_train_step(loss_fn, ADAM, steps_per_call=5)
    five, metrics = scanned(tiny.network_state(ADAM), tiny.stacked(parts))
    close(values(one), values(five))
    close(tiny.stacked(seen), metrics)
    assert metrics["bad"].shape == (5, 3)


def test_the_mean_over_micro_batches_is_that_of_the_whole():
    loss_fn, batch = tiny.squares(tiny.NETWORK), tiny.points(12)
    whole, metrics = make_train_step(loss_fn, DESCENT)(tiny.network_state(DESCENT), batch)
    step = make_train_step(loss_fn, DESCENT, accumulate=3)
    parts, found = step(tiny.network_state(DESCENT), batch)
    close(parts.params, whole.params)
    close(found, metrics)


def test_what_is_watched_is_before_the_update():
    watch = Watch()
    state = tiny.first_state(tiny.NETWORK, optax.sgd(0.5), tiny.points(1)[0], watch=watch)
    before = [np.linalg.norm(leaf) for leaf in jax.tree.leaves(state.params)]
    step = make_train_step(tiny.squares(tiny.NETWORK), optax.sgd(0.5), watch=watch)
    _, metrics = step(state, tiny.points(8))
    table = dict(zip(watch.COLUMNS, np.asarray(metrics["watch"]).T, strict=True))
    np.testing.assert_allclose(table["norm"], before, rtol=1e-6)
    moved = 0.5 * table["grad_norm"]
    kernels = table["norm"] > 0  # biases begin as zeros
    np.testing.assert_allclose(
        table["update_ratio"][kernels], moved[kernels] / table["norm"][kernels], rtol=1e-5
    )


def test_exploring_a_state_counts_its_parameters_once():
    watch = Watch(distance=True)
    state = tiny.first_state(tiny.NETWORK, ADAM, tiny.points(1)[0], watch=watch)
    inventory = ex.explore(state)
    assert inventory.num_parameters == ravel_pytree(state.params)[0].size
    kept = {each.path[0]: each.collection for each in inventory.tensors}
    assert kept["watch"] == "watch"
    assert kept["halted"] == kept["step"] == "state"


def test_bfloat16_gradients_are_summed_in_more():
    # 256 + 1 is 256 in bfloat16: 255 ones after a 1 would be lost beyond it
    def loss_fn(params, batch, context):
        return (params["linear"]["bias"] * batch).mean()

    descent = optax.sgd(1.0)
    state = tiny.first_state(tiny.LINE, descent, np.ones((1, 1)), param_dtype=jnp.bfloat16)
    step = make_train_step(loss_fn, descent, accumulate=512)
    state, _ = step(state, np.ones(512, np.float32))
    assert state.params["linear"]["bias"].dtype == jnp.bfloat16
    assert state.params["linear"]["bias"].item() == -1.0


@pytest.mark.parametrize("donate", [True, False])
def test_donated_inputs_are_freed_and_others_kept(donate):
    step = make_train_step(tiny.squares(tiny.NETWORK), ADAM, donate=donate)
    state = tiny.network_state(ADAM)
    batch = jax.tree.map(jnp.asarray, tiny.points(8))
    step(state, batch)
    assert {
        leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.opt_state))
    } == {donate}
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(batch))


def test_memory_does_not_grow():
    descent = optax.sgd(0.01)
    step = make_train_step(tiny.squares(tiny.LINE), descent, steps_per_call=100)
    x = np.ones((100, 4, 1), np.float32)
    state = tiny.first_state(tiny.LINE, descent, x[0])

    def resident() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(10):
        state, metrics = step(state, (x, x))
    jax.block_until_ready((state, metrics))
    gc.collect()
    arrays, peak = len(jax.live_arrays()), resident()
    for _ in range(100):
        state, metrics = step(state, (x, x))
    jax.block_until_ready((state, metrics))
    gc.collect()
    assert len(jax.live_arrays()) == arrays
    assert int(state.step) == 11_000
    assert resident() - peak < 8_000  # kB; one array kept of each step would be more


def test_a_state_is_immutable():
    state = tiny.network_state(ADAM)
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.step = 3  # pyright: ignore
    assert jax.tree.structure(state) == jax.tree.structure(
        state.replace(step=state.step + 1)
    )


def test_the_key_is_of_the_step_and_a_resumed_run_draws_the_same():
    def loss_fn(params, batch, context):
        drawn = jax.random.uniform(context.rng)
        return jnp.square(params["linear"]["bias"]).mean(), {"drawn": drawn}

    step = make_train_step(loss_fn, ADAM, donate=False)
    x = np.ones((2, 1), np.float32)
    state = tiny.first_state(tiny.LINE, ADAM, x)
    middle, first = trained(step, state, [x] * 2)
    _, rest = trained(step, middle, [x] * 2)
    _, again = trained(step, middle.replace(), [x] * 2)
    drawn = [float(metrics["drawn"]) for metrics in (*first, *rest)]
    assert len(set(drawn)) == 4
    assert [float(metrics["drawn"]) for metrics in again] == drawn[2:]
    in_parts = make_train_step(loss_fn, ADAM, accumulate=2, donate=False)
    parts = in_parts(state, x)[1]["drawn"]
    assert float(parts) != drawn[0]  # each part has a key of its own


def test_batch_statistics_move_in_training_and_stand_in_evaluation():
    module, batch = tiny.Normalised(), tiny.points(8, outputs=1)
    loss_fn = tiny.noisy(module)
    state = tiny.first_state(module, ADAM, batch[0], train=False)
    start = jax.device_get(state.batch_stats)
    np.testing.assert_array_equal(start["BatchNorm_0"]["mean"], np.zeros(8))
    evaluate = make_eval_step(loss_fn)
    before = evaluate(state, batch)
    assert list(before) == ["loss"]
    assert float(evaluate(state, batch)["loss"]) == float(before["loss"])  # no dropout
    step = make_train_step(loss_fn, ADAM, accumulate=2)
    state, _ = step(state, batch)
    moved = jax.device_get(state.batch_stats)["BatchNorm_0"]
    assert np.all(moved["mean"] != 0)
    assert np.all(moved["var"] != 1)
    # numbers that are none leave them as they were
    state, metrics = step(state, (batch[0] * np.nan, batch[1]))
    assert not metrics["finite"]
    chex.assert_trees_all_equal(state.batch_stats["BatchNorm_0"], moved)


def test_a_module_without_statistics_has_none():
    assert tiny.network_state(ADAM).batch_stats == {}


def test_computing_in_bfloat16_keeps_float32_masters_and_trains():
    seen = []

    def loss_fn(params, batch, context):
        seen.extend(leaf.dtype for leaf in jax.tree.leaves(params))
        x, y = batch
        predicted = tiny.NETWORK.apply({"params": params}, x.astype(jnp.bfloat16))
        return jnp.square(predicted - y).mean()

    step = make_train_step(loss_fn, ADAM, compute_dtype=jnp.bfloat16)
    batch = tiny.points(8)
    text = str(step.trace(tiny.network_state(ADAM), batch).jaxpr)
    products = re.findall(r":(\w+)\[[\d,]*\] = dot_general", text)
    assert set(products) == {"bf16"}, products
    state, metrics = trained(step, tiny.network_state(ADAM), [batch] * 60)
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}
    moments = jax.tree.leaves((state.params, state.opt_state[0].mu, state.opt_state[0].nu))
    assert {leaf.dtype for leaf in moments} == {jnp.dtype(jnp.float32)}
    assert metrics[0]["loss"].dtype == jnp.float32
    assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"]
    single = make_train_step(loss_fn, ADAM)(tiny.network_state(ADAM), batch)[1]
    # bfloat16 has 8 bits: 0.4 % a rounding
    np.testing.assert_allclose(metrics[0]["grad_norm"], single["grad_norm"], rtol=0.02)


def test_a_state_is_what_flax_and_optax_make():
    x = tiny.points(2)[0]
    state = create_state(
        tiny.NETWORK, ADAM, tiny.KEY, jax.ShapeDtypeStruct(x.shape, x.dtype)
    )
    init_key, step_key = jax.random.split(tiny.KEY)
    params = tiny.NETWORK.init(init_key, x)["params"]
    chex.assert_trees_all_close(state.params, params, rtol=1e-6)
    chex.assert_trees_all_equal_shapes_and_dtypes(state.opt_state, ADAM.init(params))
    assert jnp.array_equal(jax.random.key_data(state.rng), jax.random.key_data(step_key))
    # a key of the old kind is the same key
    old = create_state(tiny.NETWORK, ADAM, jax.random.PRNGKey(0), x)
    chex.assert_trees_all_equal(old.params, state.params)


def test_a_state_is_shaped_without_being_made():
    x = jax.ShapeDtypeStruct((1 << 20, 1 << 20), jnp.float32)
    shapes = jax.eval_shape(lambda: create_state(tiny.NETWORK, ADAM, tiny.KEY, x))
    assert shapes.params["layers_0"]["kernel"].shape == (1 << 20, 8)
    assert shapes.step.dtype == jnp.int32
