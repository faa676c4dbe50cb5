"""A checkpoint is what was saved, bit for bit, or it is refused in one line."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import explorer as ex
from explorer.errors import ExplorerError, FormatError, InputError
from explorer.models.small import MultilayerPerceptron
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.step.state import TrainState, create_state

CHECKPOINTS_WRITE = "explorer.training.checkpoints.checkpoints.write_manifest"
# the same bits are those of programs that are compiled as in this process
AS_HERE = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
CONFIG = {"recipe": "test", "settings": {"width": 8, "seed": 0}}


ADAM = optax.adam(1e-3)


def make_state(
    width: int = 8, optimizer: optax.GradientTransformation = ADAM, seed: int = 0
) -> TrainState:
    return _draw(width, optimizer)(jax.random.key(seed))


@cache
def _draw(width: int, optimizer: Any) -> Callable[[jax.Array], TrainState]:
    """Return what draws a first state, compiled once for all seeds."""
    module, x = MultilayerPerceptron((width, 3)), np.ones((1, 4), np.float32)
    return jax.jit(lambda key: create_state(module, optimizer, key, x))


def words(state: TrainState) -> list[np.ndarray]:
    """Return every leaf as the bytes that it is."""
    plain = jax.tree.map(
        lambda x: (
            jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        ),
        state,
    )
    return [
        np.array(leaf, copy=True).reshape(-1).view(np.uint8)
        for leaf in jax.tree.leaves(plain)
    ]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def write(folder: Path, steps: range = range(1, 3)) -> dict[int, list[np.ndarray]]:
    """Save a state that differs at every step, and return what was saved."""
    saved = {}
    with Checkpoints(folder, config=CONFIG, keep=9) as checkpoints:
        for step in steps:
            state = make_state(seed=step).replace(step=jnp.int32(step))
            saved[step] = words(state)
            checkpoints.save(state, {"position": step})
    return saved


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("checkpoints") / "run"
    return folder, write(folder)


def test_restored_is_what_was_saved(written: tuple[Path, dict]):
    folder, saved = written
    with Checkpoints(folder, config=CONFIG) as checkpoints:
        found = checkpoints.restore(make_state(seed=99))
    assert found is not None
    assert (found.step, found.data, found.remarks) == (2, {"position": 2}, ())
    assert same(words(found.state), saved[2])
    assert jax.tree.structure(found.state) == jax.tree.structure(make_state())
    assert jnp.issubdtype(found.state.rng.dtype, jax.dtypes.prng_key)
    assert jax.random.uniform(found.state.rng) == jax.random.uniform(make_state(seed=2).rng)


def test_shapes_alone_are_enough_to_restore_into(written: tuple[Path, dict]):
    folder, saved = written
    with Checkpoints(folder, config=CONFIG) as checkpoints:
        found = checkpoints.restore(jax.eval_shape(make_state))
    assert found is not None
    assert same(words(found.state), saved[2])


def test_keys_of_another_implementation_are_restored(tmp_path: Path):
    state = make_state().replace(rng=jax.random.key(5, impl="rbg"))
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(state)
        found = checkpoints.restore(state) if checkpoints.wait() is None else None
    assert found is not None
    assert jax.random.key_impl(found.state.rng) == jax.random.key_impl(state.rng)
    assert same(words(found.state), words(state))


def test_the_next_step_does_not_change_what_is_being_saved(tmp_path: Path):
    """Donated buffers are written over while Orbax still writes them out."""
    step = jax.jit(
        lambda s: s.replace(
            step=s.step + 1, params=jax.tree.map(lambda x: x + 1, s.params)
        ),
        donate_argnums=0,
    )
    state = make_state(width=1024)
    start = jax.tree.map(np.array, state.params)
    with Checkpoints(tmp_path / "run", keep=20) as checkpoints:
        for _ in range(12):
            state = step(state)
            checkpoints.save(state)
    like = make_state(width=1024)
    for number in range(12, 0, -1):
        with Checkpoints(tmp_path / "run") as checkpoints:
            found = checkpoints.restore(like)
        assert found is not None
        assert found.step == number
        expected = start
        for _ in range(number):
            expected = jax.tree.map(lambda x: x + np.float32(1), expected)
        jax.tree.map(np.testing.assert_array_equal, found.state.params, expected)
        shutil.rmtree(tmp_path / "run" / str(number))


def test_only_the_newest_are_kept_and_none_is_written_twice(tmp_path: Path):
    with Checkpoints(tmp_path / "run", keep=2) as checkpoints:
        assert checkpoints.restore(make_state()) is None
        for step in (1, 2, 3, 10):
            checkpoints.save(make_state(seed=step).replace(step=jnp.int32(step)))
        checkpoints.wait()
        before = (tmp_path / "run/10/manifest.json").stat().st_mtime_ns
        checkpoints.save(make_state(seed=8).replace(step=jnp.int32(10)))
    assert checkpoints.steps() == [3, 10]
    assert (tmp_path / "run/10/manifest.json").stat().st_mtime_ns == before


def test_an_unfinished_save_is_deleted(tmp_path: Path):
    write(tmp_path / "run")
    unfinished = tmp_path / "run" / "3.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "run" / "2", unfinished)
    with Checkpoints(tmp_path / "run", config=CONFIG) as checkpoints:
        found = checkpoints.restore(make_state())
    assert found is not None
    assert found.step == 2
    assert not unfinished.exists()


def test_the_run_is_a_checkpoint_that_explorer_reads(written: tuple[Path, dict]):
    folder, _ = written
    inventory = ex.explore(folder)
    # kernels 4 x 8 and 8 x 3, biases 8 and 3
    assert (inventory.num_weights, inventory.num_biases) == (56, 11)
    assert inventory.select(collection="opt_state").num_tensors == 9
    state = make_state(seed=2)
    loaded = ex.load(folder, select="params/**")["params"]
    jax.tree.map(np.testing.assert_array_equal, loaded, state.params)


def damage(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
    elif how == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    else:
        raw[random.Random(len(raw)).randrange(len(raw))] ^= 1
        path.write_bytes(raw)


@pytest.mark.parametrize("how", ["deleted", "cut", "flipped"])
def test_any_damage_to_the_newest_is_seen_and_the_one_before_taken(
    written: tuple[Path, dict], tmp_path: Path, how: str
):
    folder, saved = written
    newest = folder / "2"
    names = [
        path.relative_to(newest) for path in sorted(newest.rglob("*")) if path.is_file()
    ]
    unread = {"_CHECKPOINT_METADATA", "commit_success.txt"}
    damaged = [name for name in names if name.name not in unread]
    assert len(damaged) >= 5
    like = make_state()
    for number, name in enumerate(damaged if how == "flipped" else damaged[::4]):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        damage(copy / "2" / name, how)
        with Checkpoints(copy, config=CONFIG) as checkpoints:
            found = checkpoints.restore(like)
        assert found is not None
        assert (found.step, found.data) == (1, {"position": 1})
        assert same(words(found.state), saved[1])
        (remark,) = found.remarks
        assert remark.startswith(f"{copy / '2'}")
        assert remark.endswith("; it is set aside as 2.broken")
        assert sorted(os.listdir(copy)) == [".lock", "1", "2.broken", "run.json"]


def test_all_damaged_is_an_error(written: tuple[Path, dict], tmp_path: Path):
    shutil.copytree(written[0], tmp_path / "run")
    for step in (1, 2):
        damage(tmp_path / "run" / str(step) / "manifest.json", "deleted")
    with (
        Checkpoints(tmp_path / "run", config=CONFIG) as checkpoints,
        pytest.raises(FormatError) as caught,
    ):
        checkpoints.restore(make_state())
    run = tmp_path / "run"
    assert str(caught.value) == (
        f"{run}: none of its checkpoints is intact ({run}/2/manifest.json: cannot be read: "
        "No such file or directory; it is set aside as 2.broken); train into another folder"
    )


OTHERS = {
    "shape": (
        lambda: make_state(width=9),
        "params/layers_0/bias is float32 (8,) there, float32 (9,) here; params/layers_0/kernel "
        "is float32 (4, 8) there, float32 (4, 9) here; params/layers_1/kernel is float32 (8, 3) "
        "there, float32 (9, 3) here; 6 more",
    ),
    "optimizer": (
        lambda: make_state(optimizer=optax.sgd(0.1)),
        "opt_state/0/count is only there; opt_state/0/mu/layers_0/bias is only there; "
        "opt_state/0/mu/layers_0/kernel is only there; 6 more",
    ),
    "layers": (
        lambda: create_state(
            nn.Dense(3), optax.adam(1e-3), jax.random.key(0), jnp.ones((1, 4))
        ),
        "params/bias is not there; params/kernel is not there; opt_state/0/mu/bias is not there; "
        "15 more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_another_model_is_refused_by_what_differs(written: tuple[Path, dict], case: str):
    folder, _ = written
    make, difference = OTHERS[case]
    with (
        Checkpoints(folder, config=CONFIG) as checkpoints,
        pytest.raises(InputError) as caught,
    ):
        checkpoints.restore(make())
    assert str(caught.value) == (
        f"{folder}/2: is of another model: {difference}; expected the tensors of the one that "
        "is trained; train into another folder"
    )
    assert checkpoints.steps() == [1, 2]


def test_another_run_is_refused_by_what_differs(written: tuple[Path, dict]):
    folder, _ = written
    other = {"recipe": "other", "settings": {"width": 8, "seed": 1, "new": True}}
    with pytest.raises(InputError) as caught:
        Checkpoints(folder, config=other)
    assert str(caught.value) == (
        f"{folder}: is another run: recipe is 'test' there, 'other' now, settings.seed is 0 "
        "there, 1 now, settings.new is not set there, True now; expected the settings it "
        "began with; train into another folder"
    )
    assert json.loads((folder / "run.json").read_bytes()) == CONFIG


def refused(folder: Path, **arguments: Any) -> str:
    with pytest.raises(ExplorerError) as caught:
        Checkpoints(folder, **arguments)
    return str(caught.value)


def test_other_folders_are_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert refused(tmp_path) == (
        f"{tmp_path}: holds 'thesis.txt' and no run.json; expected an empty folder, or the one "
        "of this run; train into another folder"
    )
    assert os.listdir(tmp_path) == ["thesis.txt"]
    assert refused(tmp_path / "thesis.txt") == (
        f"{tmp_path}/thesis.txt: is a file; expected a folder, or a name that is free; train "
        "into another folder"
    )
    (tmp_path / "link").symlink_to("nowhere")
    assert refused(tmp_path / "link").startswith(
        f"{tmp_path}/link: exists and is not a folder;"
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"recipe')
    assert refused(tmp_path / "run") == (
        f"{tmp_path}/run/run.json: is broken (Input data was truncated); train into another "
        "folder"
    )


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file" / "run") == (
        f"{tmp_path}/file/run: cannot be written to (Not a directory); expected a folder that "
        "this user may write to, with room; train into another folder"
    )


def test_a_folder_without_a_name_is_not_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        Checkpoints("")
    assert str(caught.value) == "folder: has no name; expected a folder of the run"
    assert os.listdir(tmp_path) == []


OLD_RUN = Path(__file__).parents[2] / "data" / "run_with_record_json"


def test_an_older_run_is_continued(tmp_path: Path):
    """Older runs stored the words of random keys, and their manifest as record.json."""
    shutil.copytree(OLD_RUN, tmp_path / "run")
    with Checkpoints(tmp_path / "run", config={"recipe": "test"}) as checkpoints:
        found = checkpoints.restore(make_state())
        assert found is not None
        assert (found.step, found.data, found.remarks) == (7, {"position": 7}, ())
        assert jax.random.uniform(found.state.rng) == jax.random.uniform(jax.random.key(7))
        for leaf in jax.tree.leaves(found.state.params):
            np.testing.assert_array_equal(leaf.ravel(), np.arange(leaf.size) / 8)
        checkpoints.save(found.state.replace(step=jnp.int32(8)), {"position": 8})
        checkpoints.wait()
        again = checkpoints.restore(make_state())
    assert again is not None
    assert (again.step, again.data) == (8, {"position": 8})
    assert same(words(again.state)[1:], words(found.state)[1:])


def test_damage_to_an_older_run_is_seen(tmp_path: Path):
    names = [
        p for p in (OLD_RUN / "7").rglob("*") if p.is_file() and "_CHECK" not in p.name
    ]
    for number, name in enumerate(p for p in names if p.name != "commit_success.txt"):
        copy = tmp_path / str(number)
        shutil.copytree(OLD_RUN, copy)
        damage(copy / name.relative_to(OLD_RUN), "flipped")
        with (
            Checkpoints(copy, config={"recipe": "test"}) as checkpoints,
            pytest.raises(FormatError, match="none of its checkpoints is intact"),
        ):
            checkpoints.restore(make_state())


def save_losses(folder: Path, losses: list[float], **options: Any) -> Checkpoints:
    with Checkpoints(folder, **options) as checkpoints:
        for step, loss in enumerate(losses, start=1):
            state = make_state().replace(step=jnp.int32(step))
            checkpoints.save(state, metrics={"loss": np.float32(loss), "other": 1})
    return checkpoints


def test_the_best_and_those_of_a_period_are_kept_beside_the_newest(tmp_path: Path):
    losses = [3, 1, 2, np.nan, 4, 5, 6]
    options = {"keep": 1, "keep_period": 5, "best": ("loss", "min")}
    checkpoints = save_losses(tmp_path / "run", losses, **options)
    assert (checkpoints.steps(), checkpoints.best_step()) == ([2, 5, 7], 2)
    with Checkpoints(tmp_path / "run", **options) as checkpoints:
        found = checkpoints.restore(make_state())
        assert found is not None
        assert found.step == 7
        assert checkpoints.best_step() == 2
        state = found.state.replace(step=jnp.int32(8))
        checkpoints.save(state, metrics={"loss": 0.5})
    assert (checkpoints.steps(), checkpoints.best_step()) == ([5, 8], 8)
    assert save_losses(tmp_path / "max", losses, keep=1, best=("loss", "max")).steps() == [
        7
    ]
    assert save_losses(tmp_path / "none", losses, keep=2).steps() == [6, 7]


def test_another_metric_than_before_may_decide(tmp_path: Path):
    save_losses(tmp_path / "run", [1, 2], best=("loss", "min"))
    with Checkpoints(tmp_path / "run", keep=1, best=("accuracy", "max")) as checkpoints:
        assert checkpoints.restore(make_state()) is not None
        for step in (3, 4, 5):
            state = make_state().replace(step=jnp.int32(step))
            checkpoints.save(state, metrics={"accuracy": -step})
    assert checkpoints.steps() == [3, 5]


@pytest.mark.parametrize("how", ["deleted", "cut", "flipped"])
def test_damaged_metrics_are_seen_as_well(tmp_path: Path, how: str):
    save_losses(tmp_path / "run", [1, 2], best=("loss", "min"))
    damage(tmp_path / "run" / "2" / "metrics" / "metrics", how)
    with Checkpoints(tmp_path / "run") as checkpoints:
        found = checkpoints.restore(make_state())
    assert found is not None
    assert found.step == 1
    assert len(found.remarks) == 1
    assert checkpoints.steps() == [1]


KILLED = """
import itertools, sys
import jax.numpy as jnp
from explorer.training.checkpoints.checkpoints import Checkpoints
from tests.training.checkpoints.test_checkpoints import make_state
with Checkpoints(sys.argv[1], keep=1) as checkpoints:
    checkpoints.restore(make_state(256))
    for step in itertools.count(int(sys.argv[2])):
        checkpoints.save(make_state(256, seed=step).replace(step=jnp.int32(step)), step)
        print(step, flush=True)
"""


def test_killed_at_any_moment_it_has_a_checkpoint_and_all_of_it(tmp_path: Path):
    """What was complete before the kill is, whatever was being written or deleted."""
    run, first = tmp_path / "run", 1
    rng = random.Random(0)
    for _ in range(4):
        command = [sys.executable, "-c", KILLED, str(run), str(first)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | AS_HERE
        ) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < first + 2:
                pass
            time.sleep(0.3 * rng.random())
            process.send_signal(signal.SIGKILL)
        with Checkpoints(run, keep=1) as checkpoints:
            found = checkpoints.restore(make_state(256))
        assert found is not None
        assert found.remarks == ()
        assert found.step == found.data >= first + 1
        expected = make_state(256, seed=found.step).replace(step=jnp.int32(found.step))
        assert same(words(found.state), words(expected))
        names = {".lock", "run.json", *map(str, checkpoints.steps())}
        assert set(os.listdir(run)) == names
        first = found.step + 1


def failing(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failed_save_is_reported_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    with Checkpoints(run) as checkpoints:
        assert not checkpoints.has_failed()
        with monkeypatch.context() as full:
            full.setattr(CHECKPOINTS_WRITE, failing)
            checkpoints.save(make_state())
            with pytest.raises(InputError) as caught:
                checkpoints.wait()
        assert str(caught.value) == (
            f"{run}: cannot hold the checkpoint of step 0 (No space left on device); expected "
            "a folder on a disk with room; make room, or train into another folder"
        )
        assert sorted(os.listdir(run)) == [".lock", "run.json"]
        assert not checkpoints.has_failed()
        checkpoints.save(make_state())
    assert checkpoints.steps() == [0]


def test_a_failed_save_is_known_without_waiting_and_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    with Checkpoints(run, keep=1) as checkpoints:
        checkpoints.save(make_state())
        checkpoints.wait()
        with monkeypatch.context() as full:
            full.setattr(CHECKPOINTS_WRITE, failing)
            checkpoints.save(make_state().replace(step=jnp.int32(1)))
            deadline = time.monotonic() + 60
            while not checkpoints.has_failed():
                assert time.monotonic() < deadline
            assert checkpoints.has_failed()
            with pytest.raises(InputError, match="cannot hold the checkpoint of step 1"):
                checkpoints.wait()
        assert checkpoints.steps() == [0]
        checkpoints.save(make_state().replace(step=jnp.int32(2)))
        checkpoints.wait()
        assert checkpoints.steps() == [2]
        assert not checkpoints.has_failed()


def test_settings_that_are_not_positive_or_not_a_metric(tmp_path: Path):
    assert refused(tmp_path / "run", every=0) == (
        f"{tmp_path}/run: every=0, keep=3; expected at least 1 of each"
    )
    assert refused(tmp_path / "run", keep_period=0) == (
        f"{tmp_path}/run: every=100, keep=3, keep_period=0; expected at least 1 of each"
    )
    assert refused(tmp_path / "run", best=("loss", "low")) == (
        f"{tmp_path}/run: best=('loss', 'low'); expected (METRIC, 'min') or (METRIC, 'max')"
    )
    assert not (tmp_path / "run").exists()
