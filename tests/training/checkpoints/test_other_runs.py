"""No run saves over the checkpoints of another, skips a save for them or deletes them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorer.errors import FormatError, InputError
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.data.batches import Arrays, Batches
from explorer.training.loop.fit import FitResult, fit
from explorer.training.step.state import TrainState, create_state
from explorer.training.step.train_step import make_train_step
from explorer.training.watch.watch import Watch
from tests.training import tiny

OPTIMIZER = optax.adam(0.05)
STEPS = tiny.Steps(make_train_step(tiny.squares(tiny.NETWORK), OPTIMIZER, donate=False))


def first_state(seed: int = 0) -> TrainState:
    state = tiny.network_state(OPTIMIZER)
    moved = jax.tree.map(lambda leaf: leaf + jnp.float32(seed), state.params)
    return state.replace(params=moved, rng=jax.random.key(seed))


def train(
    state: TrainState, steps: int, checkpoints: Checkpoints | None, data: Any = None
) -> FitResult:
    batches = Batches(Arrays(tiny.points(50)), 8)
    if data is not None:
        batches.restore(data)
    return fit(STEPS, state, batches, steps=steps, checkpoints=checkpoints)


def words(state: TrainState) -> list[bytes]:
    plain = state.replace(rng=jax.random.key_data(state.rng))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(plain)]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a run but its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, TrainState]:
    """Return the folder of a run that took 40 steps, and its last state."""
    with Checkpoints(tmp_path / "run", every=20) as checkpoints:
        result = train(first_state(), 40, checkpoints)
    assert checkpoints.steps() == [20, 40]
    return tmp_path / "run", result.state


def refusal(folder: Path, newest: int, other: str) -> str:
    return (
        f"{folder}: holds steps up to {newest}, {other}; expected a state that continues from "
        "the newest; restore it with checkpoints.restore(state), or train into another folder"
    )


@pytest.mark.parametrize("steps", [20, 40, 100])
def test_a_fresh_run_is_refused_before_it_takes_a_step(
    run: tuple[Path, TrainState], steps: int
):
    """Of as many steps, it would be skipped; of fewer, it would be the older one."""
    folder, last = run
    before = contents(folder)
    with Checkpoints(folder, every=20) as checkpoints:
        with pytest.raises(InputError) as caught:
            fit(STEPS, first_state(5), iter(()), steps=steps, checkpoints=checkpoints)
        assert str(caught.value) == refusal(folder, 40, "the state is at 0")
        saved = checkpoints.restore(first_state())
    assert contents(folder) == before
    assert saved is not None
    assert words(saved.state) == words(last)


def test_so_is_one_that_the_same_object_would_save(tmp_path: Path):
    with Checkpoints(tmp_path / "run", every=20) as checkpoints:
        first = train(first_state(), 40, checkpoints).state
        before = contents(tmp_path / "run")
        with pytest.raises(InputError) as caught:
            train(first_state(5), 40, checkpoints)
        assert str(caught.value) == refusal(tmp_path / "run", 40, "the state is at 0")
        assert contents(tmp_path / "run") == before
        train(first, 60, checkpoints)
        assert checkpoints.steps() == [20, 40, 60]


@pytest.mark.parametrize("already", [40, 50])
def test_so_is_a_run_that_began_elsewhere_and_is_as_far_or_farther(
    run: tuple[Path, TrainState], already: int
):
    """Its later saves would delete those of the run that the folder holds."""
    folder, _ = run
    other = train(first_state(5), already, None).state
    before = contents(folder)
    with (
        Checkpoints(folder, every=20, keep=1) as checkpoints,
        pytest.raises(InputError) as caught,
    ):
        train(other, 100, checkpoints)
    assert str(caught.value) == refusal(folder, 40, "none was restored")
    assert contents(folder) == before


def test_so_is_a_loop_of_the_user_at_its_first_save(run: tuple[Path, TrainState]):
    folder, last = run
    before = contents(folder)
    with Checkpoints(folder, keep=1) as checkpoints:
        for step, other in ((20, "the state is at 20"), (40, "none was restored")):
            state = first_state(5).replace(step=jnp.int32(step))
            with pytest.raises(InputError) as caught:
                checkpoints.save(state)
            assert str(caught.value) == refusal(folder, 40, other)
        assert contents(folder) == before
        saved = checkpoints.restore(first_state())
        assert saved is not None
        checkpoints.save(saved.state.replace(step=jnp.int32(41)))
    assert checkpoints.steps() == [41]
    assert words(last) == words(saved.state)


def test_restored_it_continues_and_an_older_state_does_not(run: tuple[Path, TrainState]):
    folder, _ = run
    with Checkpoints(folder, every=20) as checkpoints:
        saved = checkpoints.restore(first_state(5))
        assert saved is not None
        older = train(first_state(), 30, None).state
        with pytest.raises(InputError) as caught:
            train(older, 60, checkpoints)
        assert str(caught.value) == refusal(folder, 40, "the state is at 30")
        result = train(saved.state, 60, checkpoints, saved.data)
    assert checkpoints.steps() == [20, 40, 60]
    assert words(result.state) == words(train(first_state(), 60, None).state)


def test_from_the_one_before_a_broken_one_the_broken_steps_are_saved_anew(
    run: tuple[Path, TrainState],
):
    """Each time that a step breaks it is set aside under a name of its own."""
    folder, last = run
    for aside in ("40.broken", "40.broken.2"):
        (folder / "40" / "manifest.json").unlink()
        with Checkpoints(folder, every=20) as checkpoints:
            saved = checkpoints.restore(first_state(5))
            assert saved is not None
            assert saved.step == 20
            assert saved.remarks[0].endswith(f"; it is set aside as {aside}")
            result = train(saved.state, 40, checkpoints, saved.data)
        assert words(result.state) == words(last)
        assert checkpoints.steps() == [20, 40]
        assert (folder / aside).is_dir()


def test_where_nothing_was_saved_yet_any_state_begins(tmp_path: Path):
    """As when a run was killed before its first save, or its state was trained elsewhere."""
    with Checkpoints(tmp_path / "run", every=20) as checkpoints:
        assert checkpoints.restore(first_state()) is None
    started = train(first_state(), 30, None).state
    with Checkpoints(tmp_path / "run", every=20) as checkpoints:
        train(started, 50, checkpoints)
    assert checkpoints.steps() == [40, 50]


def test_steps_that_were_renamed_into_each_other_are_not_taken_for_each_other(
    run: tuple[Path, TrainState],
):
    """Every file of them is as it was written: the manifest says of which step it is."""
    folder, _ = run
    (folder / "20").rename(folder / "other")
    (folder / "40").rename(folder / "20")
    (folder / "other").rename(folder / "40")
    with (
        Checkpoints(folder, every=20) as checkpoints,
        pytest.raises(FormatError) as caught,
    ):
        checkpoints.restore(first_state())
    assert str(caught.value) == (
        f"{folder}: none of its checkpoints is intact ({folder}/40/manifest.json: is of step "
        "20; expected of step 40; it is set aside as 40.broken); train into another folder"
    )


def test_a_step_that_was_renamed_is_passed_over(run: tuple[Path, TrainState]):
    folder, _ = run
    (folder / "40").rename(folder / "400")
    with Checkpoints(folder, every=20) as checkpoints:
        saved = checkpoints.restore(first_state())
    assert saved is not None
    assert saved.step == int(saved.state.step) == 20
    assert saved.remarks[0].endswith("expected of step 400; it is set aside as 400.broken")


WATCHES = {
    "none": None,
    "no distance": Watch(),
    "distance": Watch(distance=True),
    "some": Watch(distance=True, glob="**/kernel"),
}


@pytest.mark.parametrize("before", WATCHES)
@pytest.mark.parametrize("after", WATCHES)
def test_another_watch_is_the_same_run(tmp_path: Path, before: str, after: str):
    def state_of(name: str, seed: int) -> Any:
        x = jnp.ones((1, 4))
        key = jax.random.key(seed)
        return create_state(tiny.NETWORK, OPTIMIZER, key, x, watch=WATCHES[name])

    first, like = state_of(before, 0), state_of(after, 7)
    first = first.replace(params=jax.tree.map(lambda leaf: leaf + 1, first.params))
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(first)
        checkpoints.wait()
        saved = checkpoints.restore(like)
    assert saved is not None
    jax.tree.map(np.testing.assert_array_equal, saved.state.params, first.params)
    jax.tree.map(np.testing.assert_array_equal, saved.state.opt_state, first.opt_state)
    assert jax.tree.structure(saved.state) == jax.tree.structure(like)
    if before == after:
        jax.tree.map(np.testing.assert_array_equal, saved.state.watch, first.watch)
        assert saved.remarks == ()
        return
    for keys, leaf in jax.tree_util.tree_flatten_with_path(saved.state.watch)[0]:
        layer, name = (key.key for key in keys)
        np.testing.assert_array_equal(leaf, first.params[layer][name])
    is_measured = after in ("distance", "some")
    assert len(saved.remarks) == is_measured
    if is_measured:
        assert "distances are measured from step 0" in saved.remarks[0]
