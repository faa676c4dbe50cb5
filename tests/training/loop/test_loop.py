"""The loop: the numbers of a plain one, wherever it is stopped and gone on with."""

import errno
import io
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.errors import InputError
from explorer.models.small import MultilayerPerceptron
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.data.batches import Arrays, Batches
from explorer.training.logging.history import History
from explorer.training.loop.fit import FitResult, fit
from explorer.training.loop.progress import LineProgress
from explorer.training.loop.stopping import stop_signals
from explorer.training.step.state import TrainState, create_state
from explorer.training.step.train_step import make_train_step
from explorer.training.watch.watch import Watch
from tests.training.tiny import Steps

MODULE = MultilayerPerceptron((8, 3))
OPTIMIZER = optax.adam(0.05)
WATCH = Watch(every=4)
rng = np.random.default_rng(0)
POINTS = {
    "x": rng.normal(size=(50, 4)).astype(np.float32),
    "y": rng.integers(0, 3, 50).astype(np.int32),
}


def loss_fn(params: Any, batch: Any, context: Any) -> tuple[jax.Array, dict]:
    # dropout: what is drawn at a step must not depend on where the run was resumed
    kept = jax.random.bernoulli(context.rng, 0.9, batch["x"].shape)
    logits = MODULE.apply({"params": params}, batch["x"] * kept)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return losses.mean(), {"right": (logits.argmax(-1) == batch["y"]).mean()}


@cache
def created() -> TrainState:
    return create_state(MODULE, OPTIMIZER, jax.random.key(1), jnp.ones((1, 4)), watch=WATCH)


def create() -> TrainState:
    """Return the first state, in memory that a step may take over."""
    return jax.tree.map(jnp.copy, created())


@pytest.fixture(scope="module")
def step() -> Callable[[TrainState, Any], tuple[TrainState, Any]]:
    return make_train_step(loss_fn, OPTIMIZER, watch=WATCH)


def make_batches(**arguments: int) -> Batches:
    return Batches(Arrays(POINTS), 8, seed=3, **arguments)


def make_history() -> History:
    return History(WATCH.rows(created().params))


def run(
    step: Any, state: TrainState, batches: Iterable[Any], steps: int, **more: Any
) -> FitResult:
    more.setdefault("history", make_history())
    return fit(Steps(step, WATCH), state, batches, steps=steps, **more)


def words(state: TrainState) -> list[bytes]:
    plain = state.replace(rng=jax.random.key_data(state.rng))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(plain)]


def test_the_numbers_are_those_of_a_plain_loop(step: Any):
    state, batches, losses = create(), make_batches(), []
    for _ in range(30):
        state, metrics = step(state, next(batches))
        losses.append(float(metrics["loss"]))
    found = run(step, create(), make_batches(), 30)
    assert (found.stopped, found.reason) == ("steps", "all 30 steps are taken")
    assert words(found.state) == words(state)
    numbers, recorded = found.history.metric("loss")
    assert numbers.tolist() == list(range(1, 31))
    assert recorded.tolist() == losses


def test_only_watched_steps_have_a_table(step: Any):
    found = run(step, create(), make_batches(), 10)
    watched = [r.step for r in found.history.records if r.watch is not None]
    assert watched == [1, 5, 9]
    first = found.history.records[0].watch
    norms = [np.linalg.norm(leaf) for leaf in jax.tree.leaves(created().params)]
    assert first is not None
    np.testing.assert_allclose(first[:, 0], norms, rtol=1e-5)
    unwatched = fit(Steps(step), create(), make_batches(), steps=10, history=make_history())
    for record, same in zip(unwatched.history.records, found.history.records, strict=True):
        np.testing.assert_array_equal(record.watch, same.watch)


@pytest.mark.parametrize("stop", [1, 7, 13, 29])
def test_resumed_it_ends_bit_for_bit_where_it_would_have(
    step: Any, tmp_path: Path, stop: int
):
    """Stopped by a signal, saved, and gone on with by new objects in the same folder."""
    whole = run(step, create(), make_batches(), 30)
    with Checkpoints(tmp_path / "run", every=5) as checkpoints:
        batches = stopping(make_batches(), stop)
        first = run(step, create(), batches, 30, checkpoints=checkpoints)
    assert (first.stopped, first.reason) == ("signal", f"SIGTERM came after step {stop}")
    with Checkpoints(tmp_path / "run", every=5) as checkpoints:
        saved = checkpoints.restore(create())
        assert saved is not None
        assert saved.step == stop
        batches = make_batches()
        batches.restore(saved.data)
        second = run(step, saved.state, batches, 30, checkpoints=checkpoints)
    assert words(second.state) == words(whole.state)
    losses = [*first.history.metric("loss")[1], *second.history.metric("loss")[1]]
    assert losses == whole.history.metric("loss")[1].tolist()


class stopping(Batches):  # noqa: N801
    """Batches whose n-th brings a signal with it."""

    def __init__(self, batches: Batches, at: int, number: int = signal.SIGTERM):
        self._inner, self._left, self._number = batches, at, number

    def __next__(self) -> Any:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)
        return next(self._inner)

    def state(self) -> dict[str, int]:
        return self._inner.state()


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_stops_between_two_steps_and_a_second_one_at_once(step: Any):
    before = signal.getsignal(signal.SIGINT)
    found = run(step, create(), stopping(make_batches(), 3, signal.SIGINT), 30)
    assert (found.stopped, int(found.state.step)) == ("signal", 3)
    assert signal.getsignal(signal.SIGINT) is before

    class Twice(stopping):
        def __next__(self) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return super().__next__()

    with pytest.raises(KeyboardInterrupt):
        run(step, create(), Twice(make_batches(), 1, signal.SIGINT), 30)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("interrupted")
def test_a_signal_before_the_loop_is_heard_by_it(step: Any):
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with stop_signals() as received:
        signal.raise_signal(signal.SIGINT)
        found = run(step, create(), make_batches(), 30)
        assert (found.stopped, found.reason) == ("signal", "SIGINT came after step 0")
        assert received == ["SIGINT"]
        with stop_signals() as inner:  # the end of one inside is not that of the outer
            assert inner is received
        signal.raise_signal(signal.SIGTERM)
        assert received == ["SIGINT", "SIGTERM"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    with stop_signals() as received:
        assert received == []


def test_handlers_are_left_alone_outside_the_main_thread(step: Any):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    seen: list[Any] = []

    def batches() -> Iterator[Any]:
        for batch in make_batches():
            seen.append([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)])
            yield batch

    results: list[FitResult] = []
    thread = threading.Thread(
        target=lambda: results.append(run(step, create(), batches(), 3))
    )
    thread.start()
    thread.join()
    assert results[0].stopped == "steps"
    assert seen == [before] * 3


def test_data_that_ends_ends_the_run(step: Any, tmp_path: Path):
    few = list(itertools.islice(make_batches(), 4))
    with Checkpoints(tmp_path / "run") as checkpoints:
        found = run(step, create(), few, 30, checkpoints=checkpoints)
    assert (found.stopped, found.reason) == ("data", "the data ended after step 4")
    assert checkpoints.steps() == [4]


def test_no_data_at_all_is_reported(step: Any):
    found = run(step, create(), iter([]), 30)
    assert found.reason == "the data ended after step 0"


def test_evaluations_are_recorded_where_they_were_made(step: Any):
    def evaluate(state: TrainState) -> dict[str, Any]:
        return {"step": state.step, "loss": jnp.float32(0.5)}

    found = run(step, create(), make_batches(), 10, evaluate=evaluate, eval_every=4)
    numbers, values = found.history.metric("eval_step")
    assert numbers.tolist() == values.tolist() == [4, 8, 10]
    once = run(step, create(), make_batches(), 10, evaluate=evaluate)
    assert once.history.metric("eval_step")[0].tolist() == [10]


def test_calls_of_several_steps_are_recorded_one_by_one(step: Any):
    several = make_train_step(loss_fn, OPTIMIZER, watch=WATCH, steps_per_call=5)
    one = run(step, create(), make_batches(), 20)
    found = run(several, create(), make_batches(steps_per_call=5), 20)
    numbers, losses = found.history.metric("loss")
    assert numbers.tolist() == list(range(1, 21))
    np.testing.assert_allclose(losses, one.history.metric("loss")[1], rtol=1e-5)
    watched = [r.step for r in found.history.records if r.watch is not None]
    assert watched == [1, 5, 9, 13, 17]
    with pytest.raises(InputError) as caught:
        run(several, create(), make_batches(steps_per_call=5), 12)
    assert str(caught.value) == (
        "steps: 12 to take, 5 a call; expected steps that are divisible by steps_per_call"
    )


def poisoned(at: int) -> Iterator[Any]:
    for number, batch in enumerate(make_batches(), start=1):
        if number == at:
            batch["x"][:] = np.nan
        yield batch


@pytest.mark.parametrize("every", [1, 100])
def test_it_stops_where_a_number_is_not_finite(step: Any, tmp_path: Path, every: int):
    good, batches = create(), make_batches()
    with Checkpoints(tmp_path / "run", every=every, keep=50) as checkpoints:
        found = run(step, create(), poisoned(12), 500, checkpoints=checkpoints)
    assert found.stopped == "not finite"
    assert found.reason == (
        "step 12: the loss is nan, gradients are not finite in layers_0/kernel, "
        "layers_1/bias, layers_1/kernel"
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.state.params))
    assert found.history.records[-1].step == 11
    assert max(checkpoints.steps(), default=0) <= 11
    for _ in range(11):
        good, _ = step(good, next(batches))
    assert words(found.state.replace(halted=good.halted)) == words(good)


def test_gradients_too_large_together_are_reported():
    """The squares of 32 sum up to 2.9e38 at most, those of all 67 to 6e38: beyond float32."""

    def steep(params: Any, batch: Any, context: Any) -> Any:
        moved = jax.tree.map(lambda leaf: leaf - jax.lax.stop_gradient(leaf), params)
        return sum(3e18 * leaf.sum() for leaf in jax.tree.leaves(moved))

    found = fit(Steps(make_train_step(steep, OPTIMIZER)), create(), make_batches(), steps=9)
    assert found.reason == "step 1: the loss is 0, the norm of all gradients is not finite"


UPDATES = {
    "infinite": optax.sgd(np.inf),
    "no number": optax.stateless(
        lambda grads, _: jax.tree.map(lambda g: g * np.nan, grads)
    ),
}


@pytest.mark.parametrize("kind", UPDATES)
def test_parameters_that_an_update_spoils_are_reported_and_not_saved(
    tmp_path: Path, kind: str
):
    """Loss and gradients of the first step are finite; what is made of them is not."""
    update = UPDATES[kind]
    spoiling = make_train_step(loss_fn, update, donate=False)
    state = create_state(MODULE, update, jax.random.key(1), jnp.ones((1, 4)))
    for every, steps in ((1, 30), (100, 30), (100, 1)):
        with Checkpoints(tmp_path / "run", every=every) as checkpoints:
            found = fit(
                Steps(spoiling), state, make_batches(), steps=steps, checkpoints=checkpoints
            )
            assert checkpoints.steps() == []
        assert (found.stopped, found.reason) == (
            "not finite",
            "step 1: parameters are not finite in layers_0/bias, layers_0/kernel, "
            "layers_1/bias",
        )
    assert fit(Steps(spoiling), state, make_batches(), steps=1).stopped == "not finite"


def test_the_best_evaluation_decides_which_checkpoint_is_kept(step: Any, tmp_path: Path):
    scores = {10: 1.0, 20: 5.0, 30: 2.0, 40: 3.0}
    options = {"every": 10, "keep": 1, "best": ("eval_score", "max")}
    with Checkpoints(tmp_path / "run", **options) as checkpoints:
        run(
            step,
            create(),
            make_batches(),
            40,
            checkpoints=checkpoints,
            evaluate=lambda state: {"score": scores[int(state.step)]},
            eval_every=10,
        )
    assert checkpoints.steps() == [20, 40]
    assert checkpoints.best_step() == 20


def test_a_save_that_fails_ends_the_run_before_the_next(
    step: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    failed = threading.Event()

    def write_manifest(*_: Any) -> None:
        failed.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(
        "explorer.training.checkpoints.checkpoints.write_manifest", write_manifest
    )
    drawn = 0

    def batches() -> Iterator[Any]:
        nonlocal drawn
        for batch in itertools.islice(make_batches(), 100_000):
            drawn += 1
            if drawn == 12:  # the save of step 10 is done with, the next is far away
                assert failed.wait(60)
                checkpoints.every = 10**9
            yield batch

    with (
        Checkpoints(tmp_path / "run", every=10) as checkpoints,
        pytest.raises(InputError) as caught,
    ):
        run(step, create(), batches(), 10**9, checkpoints=checkpoints)
    assert drawn < 100_000
    assert str(caught.value) == (
        f"{tmp_path}/run: cannot hold the checkpoint of step 10 (No space left on device); "
        "expected a folder on a disk with room; make room, or train into another folder"
    )
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", "run.json"]


NEWEST = (
    "expected the newest state; use what the step or fit returned, or "
    "Trainer(donate=False) to keep each"
)
DOORS = {
    "steps": ({"steps": -1}, "steps: -1; expected a whole number, 0 or more"),
    "half": ({"steps": 1.5}, "steps: 1.5; expected a whole number, 0 or more"),
    "eval": ({"eval_every": -3}, "eval_every: -3; expected a whole number, 0 or more"),
    "batches": ({"batches": 7}, "batches: a int; expected an iterable of them"),
    "trainer": (
        {"trainer": len},
        "trainer: <built-in function len>; expected a Trainer; "
        "fit(trainer, state, batches, steps=...)",
    ),
    "watch": ({"trainer": Steps(len, 4)}, "watch: 4; expected the Watch of the step, or None"),
    "number": (
        {"evaluate": lambda _: 0.5},
        "evaluate: returned a float; expected a dict of numbers by name; "
        'return {"loss": loss}',
    ),
    "array": (
        {"evaluate": lambda _: {"right": jnp.ones(3)}},
        "evaluate['right']: float32 of shape (3,); expected a number",
    ),
    "text": (
        {"evaluate": lambda _: {"right": "all"}},
        "evaluate['right']: 'all'; expected a number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DOORS)
def test_what_fit_cannot_do_with_is_reported_in_one_line(step: Any, case: str):
    wrong, message = DOORS[case]
    given = {
        "trainer": Steps(step),
        "state": create(),
        "batches": make_batches(),
        "steps": 2,
    }
    with pytest.raises(InputError) as caught:
        fit(**(given | wrong))
    assert str(caught.value) == message


def test_a_state_that_was_given_away_is_reported(step: Any):
    first = create()
    second = run(step, first, make_batches(), 2).state
    with pytest.raises(InputError) as caught:
        run(step, first, make_batches(), 2)
    assert str(caught.value) == (
        f"the state: was donated to a step, which has reused its memory; {NEWEST}"
    )
    assert run(step, second, make_batches(), 4).stopped == "steps"


def test_a_state_that_was_halted_is_reported(step: Any):
    halted = run(step, create(), poisoned(3), 30).state
    with pytest.raises(InputError) as caught:
        run(step, halted, make_batches(), 30)
    assert str(caught.value) == (
        "the state: is halted: after step 2 there was no finite one; expected one that steps "
        "can be taken from; go on with state.replace(halted=jnp.array(False)), or a checkpoint"
    )
    again = halted.replace(halted=jnp.array(False))
    assert run(step, again, make_batches(), 30).stopped == "steps"


def test_a_step_is_traced_once_however_long_the_run(tmp_path: Path):
    traces = 0

    def counted(params: Any, batch: Any, context: Any) -> Any:
        nonlocal traces
        traces += 1
        return loss_fn(params, batch, context)

    jitted, seen = make_train_step(counted, OPTIMIZER, watch=WATCH), []

    def batches() -> Iterator[Any]:
        for batch in make_batches():
            seen.append(traces)
            yield batch

    with Checkpoints(tmp_path / "run", every=10) as checkpoints:
        checkpoints.save(create(), {})
        checkpoints.wait()
        saved = checkpoints.restore(created())
        assert saved is not None
        run(jitted, saved.state, batches(), 40, checkpoints=checkpoints)
    assert seen == [0, *[seen[1]] * 39]
    assert traces == seen[1]


def test_progress_of_a_run_ends_at_its_last_step(step: Any):
    stream = io.StringIO()
    run(
        step,
        create(),
        make_batches(),
        25,
        progress=LineProgress(stream),
        tokens_per_batch=8,
    )
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("step 1/25  loss ")
    assert lines[-1].startswith("step 25/25  loss ")
    assert "right" in lines[-1]
    assert "tokens/s" in lines[-1]
