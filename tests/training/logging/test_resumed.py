"""A run that resumes goes on in its file as if it had not been interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.errors import FormatError, InputError
from explorer.training.logging.history import read_jsonl
from explorer.training.logging.jsonl import JsonlWriter
from explorer.training.watch.watch import Watch
from tests.training.logging.test_history import ROWS, run_of

RECORDS = run_of(9).records


def written(path: Path, first: int, last: int, after: int | None = None) -> bytes:
    """Write the records of some steps, as a process does; return what the file holds."""
    with JsonlWriter(path, ROWS, Watch.COLUMNS, after=after) as writer:
        for record in RECORDS[first - 1 : last]:
            writer.write(record)
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the file of a run without an interruption."""
    return written(tmp_path_factory.mktemp("whole") / "h.jsonl", 1, 9)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_killed_anywhere_its_file_is_that_of_an_uninterrupted_run(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
):
    """The file ends anywhere behind the lines of the checkpoint, a step of which is restored."""
    path = tmp_path_factory.mktemp("killed") / "h.jsonl"
    step = data.draw(st.integers(0, 9))
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    path.write_bytes(whole[: data.draw(st.integers(ends[step], len(whole)))])
    assert written(path, step + 1, 9, after=step) == whole


def test_a_line_that_lacks_its_end_alone_is_kept(tmp_path: Path, whole: bytes):
    path = tmp_path / "h.jsonl"
    path.write_bytes(whole[:-1])
    assert written(path, 10, 9, after=9) == whole[:-1]  # ended by the next record
    ends = [n for n, byte in enumerate(whole) if byte == ord("\n")]
    path.write_bytes(whole[: ends[5]])
    assert written(path, 6, 9, after=5) == whole


def test_without_a_step_every_line_is_kept(tmp_path: Path, whole: bytes):
    path = tmp_path / "h.jsonl"
    written(path, 1, 9)
    assert written(path, 4, 9) == whole + b"".join(whole.splitlines(True)[4:])
    assert [r.step for r in read_jsonl(path).records] == [*range(1, 10)]
    assert written(path, 10, 9, after=3) == b"".join(whole.splitlines(True)[:4])


def test_nothing_is_cut_off_the_file_of_another_run(tmp_path: Path):
    path = tmp_path / "h.jsonl"
    before = written(path, 1, 9)
    with pytest.raises(InputError, match="is the history of another run"):
        JsonlWriter(path, ROWS, Watch.COLUMNS, "other", after=0)
    path.write_bytes(b"My diary\n")
    with pytest.raises(FormatError, match="is not the history of a run"):
        JsonlWriter(path, ROWS, Watch.COLUMNS, after=0)
    assert path.read_bytes() == b"My diary\n"
    path.write_bytes(before)
    with pytest.raises(InputError, match=r"^after: is str; expected a whole number$"):
        JsonlWriter(path, ROWS, Watch.COLUMNS, after="3")  # pyright: ignore
    assert path.read_bytes() == before


def kill_when(command: list[str], path: Path) -> None:
    """Run a command and kill it once a path is there."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not path.exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)


CHANGES = ["steps=1500", "batch=16", "learning_rate=0.05", "save_every=300"]


def test_killed_at_once_a_recipe_leaves_the_lines_of_an_uninterrupted_run(tmp_path: Path):
    """SIGKILL, at a moment that no run chooses."""
    command = [sys.executable, "-m", "explorer", "train", "linear"]
    command += [part for change in CHANGES for part in ("--set", change)]
    # both in child processes: this one may compile with other flags
    whole = [*command, "--out", str(tmp_path / "whole")]
    subprocess.run(whole, check=True, capture_output=True)
    lines = (tmp_path / "whole" / "history.jsonl").read_bytes()
    out = tmp_path / "killed"
    command += ["--out", str(out)]
    kill_when(command, out / "600")
    subprocess.run(command, check=True, capture_output=True)
    assert (out / "history.jsonl").read_bytes() == lines
    assert sorted(os.listdir(out)) == sorted(os.listdir(tmp_path / "whole"))


TRAINING = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, optax
from explorer.models.small import LinearRegression
from explorer.training import Arrays, Batches, Checkpoints, JsonlWriter, Trainer, fit

folder = Path(sys.argv[1])
model, x = LinearRegression(), jnp.linspace(-1, 1, 32)[:, None]

def loss_fn(params, batch, context):
    x, y = batch
    return jnp.square(model.apply({"params": params}, x) - y).mean()

trainer = Trainer(model, loss_fn, optax.sgd(0.01))
batches = Batches(Arrays((x, 2 * x + 1)), 8)
state = trainer.init(jax.random.key(0), x)
with Checkpoints(folder, every=300) as checkpoints:
    if saved := checkpoints.restore(state):
        state = saved.state
        batches.restore(saved.data)
    history = trainer.history(state)
    writer = JsonlWriter(folder / "history.jsonl", history.rows, history.columns)
    history = trainer.history(state, writers=[writer])
    fit(trainer, state, batches, steps=1500, checkpoints=checkpoints, history=history)
"""


@pytest.mark.thorough
def test_killed_at_once_fit_leaves_the_lines_of_an_uninterrupted_run(tmp_path: Path):
    """The writer keeps what is there; `fit` goes back to the step that it goes on from."""

    def command(name: str) -> list[str]:
        return [sys.executable, "-c", TRAINING, str(tmp_path / name)]

    subprocess.run(command("whole"), check=True, capture_output=True)
    lines = (tmp_path / "whole" / "history.jsonl").read_bytes()
    assert len(lines.splitlines()) == 1501
    history = tmp_path / "killed" / "history.jsonl"
    kill_when(command("killed"), tmp_path / "killed" / "300")
    there = len(history.read_bytes().splitlines())
    with history.open(
        "ab"
    ) as file:  # as of a process that was quicker to write than to save
        file.write(b"".join(lines.splitlines(True)[there:][:40]) + b'{"step":')
    subprocess.run(command("killed"), check=True, capture_output=True)
    assert history.read_bytes() == lines


def test_a_history_goes_back(tmp_path: Path, whole: bytes):
    path = tmp_path / "h.jsonl"
    history = run_of(9)
    history.rewind(6)
    assert [record.step for record in history.records] == [1, 2, 3, 4, 5, 6]
    written(path, 1, 9)
    with JsonlWriter(path, ROWS, Watch.COLUMNS) as writer:
        writer.rewind(9)
        assert path.read_bytes() == whole
        writer.rewind(5)
        for record in RECORDS[5:]:
            writer.write(record)
        assert path.read_bytes() == whole
        writer.rewind(0)
    assert path.read_bytes() == whole.splitlines(True)[0]
