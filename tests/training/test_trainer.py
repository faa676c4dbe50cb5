"""Trainer: the functions underneath, each jitted once, with nothing given twice."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.errors import InputError
from explorer.training import (
    Arrays,
    Batches,
    Freezing,
    Rule,
    Trainer,
    Watch,
    create_state,
    fit,
    freeze,
    make_eval_step,
    make_train_step,
)
from tests.training import tiny

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1, weight_decay=0.5))
LOSS = tiny.squares(tiny.NETWORK)
KEY, X = jax.random.key(3), jnp.ones((1, 6))


def trainer(**options: Any) -> Trainer:
    return Trainer(tiny.NETWORK, options.pop("loss_fn", LOSS), OPTIMIZER, **options)


def trained(step: Any, state: Any, steps: int = 3) -> Any:
    for batch in tiny.batches(steps):
        state, _ = step(state, batch)
    return jax.device_get(state.params)


@pytest.mark.parametrize("watch", [None, Watch(every=2, distance=True)])
@pytest.mark.parametrize("choice", [{}, {"roles": "bias"}, {"globs": "layers_0/**"}])
def test_it_is_the_functions_underneath(watch: Watch | None, choice: dict[str, str]):
    record = trainer(watch=watch, freeze=Freezing(**choice) if choice else None)
    optimizer, labels = OPTIMIZER, None
    if choice:
        shapes = jax.eval_shape(tiny.NETWORK.init, KEY, X)["params"]
        optimizer, labels, trains, frozen = freeze(OPTIMIZER, shapes, **choice)
        assert record.freeze.count(shapes) == (trains, frozen)  # pyright: ignore
    ours = record.init(KEY, X)
    theirs = create_state(tiny.NETWORK, optimizer, KEY, X, watch=watch)
    chex.assert_trees_all_equal(ours.replace(rng=0), theirs.replace(rng=0))
    step = make_train_step(LOSS, optimizer, watch=watch, labels=labels)
    chex.assert_trees_all_equal(trained(record.step, ours), trained(step, theirs))


def test_evaluation_is_that_of_the_function_underneath():
    record = trainer()
    state, batch = record.init(KEY, X), tiny.points(8)
    chex.assert_trees_all_equal(
        record.eval_step(state, batch), make_eval_step(LOSS)(state, batch)
    )


def test_each_function_is_traced_once():
    calls = []

    def counted(params: Any, batch: Any, context: Any) -> Any:
        calls.append(context.train)
        return LOSS(params, batch, context)

    record = trainer(loss_fn=counted, freeze="layers_0/**", donate=False)
    state = record.init(KEY, X)
    trained(record.step, state)
    trained(record.step, record.init(KEY, X))
    for batch in tiny.batches(3):
        record.eval_step(state, batch)
    assert calls == [True, False]


def test_a_step_without_jit_finds_the_same():
    record = trainer(watch=Watch(every=1), donate=False)
    state, batch = record.init(KEY, X), tiny.points(8)
    jitted, metrics = record.step(state, batch)
    with jax.disable_jit():
        plain, same = record.step(state, batch)
    chex.assert_trees_all_close(jitted.params, plain.params, rtol=1e-6, atol=1e-7)
    chex.assert_trees_all_close(metrics, same, rtol=1e-5, atol=1e-6)


def test_the_step_lowers_for_every_platform():
    record = trainer(watch=Watch(), freeze="*/bias", accumulate=2)
    exported = jax.export.export(record.step, platforms=("cpu", "cuda", "tpu"))  # pyright: ignore
    state = jax.eval_shape(lambda: record.init(KEY, X))
    assert exported(state, tiny.points(8)).platforms == ("cpu", "cuda", "tpu")


def test_fit_takes_all_that_it_needs_from_the_record():
    record = trainer(watch=Watch(every=2), freeze="layers_0/**")
    state = record.init(KEY, X)
    before, history = jax.device_get(state.params), record.history(state, run="r")
    assert history.rows == record.watch.rows(state.params)  # pyright: ignore
    result = fit(record, state, tiny.batches(5), steps=4, history=history)
    assert (result.stopped, int(result.state.step)) == ("steps", 4)
    assert [r.step for r in history.records if r.watch is not None] == [1, 3]
    np.testing.assert_array_equal(
        result.state.params["layers_0"]["kernel"], before["layers_0"]["kernel"]
    )


def test_it_is_frozen_and_can_be_replaced():
    record = trainer(freeze="*/bias")
    with pytest.raises(FrozenInstanceError):
        record.accumulate = 2  # pyright: ignore
    other = replace(record, accumulate=2)
    assert (record.accumulate, other.accumulate) == (1, 2)
    assert other.step is not record.step
    assert other.freeze is record.freeze
    assert record.step is record.step
    assert len({record, other}) == 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("layers_7/**", "freeze(globs=): 'layers_7/**' matches no parameter"),
        ("**", "freeze: all parameters are frozen"),
        (Freezing(roles="embedding"), "freeze(roles=): no parameter is a embedding"),
    ],
)
def test_what_cannot_be_frozen_is_refused_before_the_first_step(choice: Any, message: str):
    with pytest.raises(InputError) as caught:
        trainer(freeze=choice).init(KEY, X)
    assert str(caught.value).startswith(message)


NOT_AN_OPTIMIZER = "expected an optax transformation such as optax.adamw(1e-3)"
DTYPES = "expected a floating-point dtype such as bfloat16 or float32"
WRONG = {
    "accumulate": (0, "accumulate: 0; expected a whole number, 1 or more"),
    "steps_per_call": (1.5, "steps_per_call: 1.5; expected a whole number, 1 or more"),
    "remat": ("xx", "remat: 'xx'; expected None or one of full, dots, dots_no_batch"),
    "compute_dtype": ("float99", f"compute_dtype: dtype 'float99'; {DTYPES}"),
    "param_dtype": ("int8", f"param_dtype: dtype 'int8'; {DTYPES}"),
    "rules": ([Rule("fsdp")], "rules: no mesh; pass mesh=make_mesh(...) as well"),
    "logical_axes": (
        {"embed": "fsdp"},
        "logical_axes: no mesh; pass mesh=make_mesh(...) as well",
    ),
    "watch": (50, "watch: 50; expected a Watch, or None"),
    "optimizer": ("adam", f"optimizer: 'adam'; {NOT_AN_OPTIMIZER}"),
    "model": (
        "mlp",
        "module: 'mlp'; expected a module of Linen, NNX or Equinox, a function of rngs that "
        "makes one of NNX, or (params, apply)",
    ),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_is_refused_where_it_is_given(field: str):
    value, message = WRONG[field]
    with pytest.raises(InputError) as caught:
        replace(trainer(), **{field: value})
    assert str(caught.value) == message


def test_batches_as_many_to_a_call_as_the_trainer_takes_steps():
    record, data = trainer(steps_per_call=5), Arrays(tiny.points(50))
    for batches, given in ((Batches(data, 8), 1), (Batches(data, 8, steps_per_call=2), 2)):
        with pytest.raises(InputError) as caught:
            fit(record, record.init(KEY, X), batches, steps=10)
        assert str(caught.value) == (
            f"steps_per_call: 5 of the trainer, {given} of the batches; expected the same of "
            "both; pass Batches(..., steps_per_call=5)"
        )
    result = fit(record, record.init(KEY, X), Batches(data, 8, steps_per_call=5), steps=10)
    assert int(result.state.step) == 10
