"""explorer train as a user meets it: results, interruptions, and one line an error."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.recipes import settings_of
from explorer.recipes.linear import draw_points
from explorer.recipes.running import Finished, run
from explorer.training.checkpoints.lock import Lock
from explorer.training.logging.history import read_jsonl
from tests.cli.in_process import run as run_command

# noise and small batches: another order, or a step too many, would show
LONG = ["steps=3000", "batch=16", "learning_rate=0.05", "save_every=500"]
# the same bits are those of programs that are compiled as in this process
AS_HERE = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
COMMAND = [sys.executable, "-m", "explorer", "train"]


def train(*args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )


def begin(*args: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *args],
        cwd=cwd,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a process has made a file."""
    while not file.exists():
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"ended with {process.wait(0.01)}")


@pytest.mark.training
def test_linear_prints_the_line_and_what_is_in_the_model(tmp_path: Path):
    done = run_command("train", "linear", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    points = draw_points(settings_of("linear"))
    a, b = np.polyfit(points["x"][:, 0].astype(float), points["y"][:, 0].astype(float), 1)
    lines = done.stdout.splitlines()
    assert lines[0] == f"learned        y = {a:.6f} x + {b:.6f}"
    assert "2 parameters in 2 tensors = 1 weight + 1 bias" in lines
    assert lines[-1] == (
        "saved in runs/linear: explorer show runs/linear; every step: history.jsonl; changes: learned.json; "
        "curves: curves.png"
    )
    messages = done.stderr.splitlines()
    messages = [line for line in messages if not line.startswith("compiling")]
    named = [(line[0], line[2:18].strip()) for line in messages[:6]]
    assert named == [
        ("1", "initialise"), ("2", "forward"), ("3", "loss"), ("4", "backpropagation"),
        ("5", "update"), ("6", "repeat"),
    ]  # fmt: skip
    first = (
        ex.training.read_jsonl(tmp_path / "runs/linear/history.jsonl").records[0].metrics
    )
    assert messages[2][19:] == f"{first['loss']:.4g}: how wrong they are"
    assert messages[3].endswith(f"a gradient of norm {first['grad_norm']:.4g}")
    assert messages[6].startswith("step 1/200  loss ")
    assert messages[-3].startswith("step 200/200  loss ")
    assert messages[-2] == "all 200 steps are taken: runs/linear is finished"
    assert messages[-1].startswith("time: steps ")
    assert "\x1b" not in done.stdout + done.stderr
    assert ex.explore(tmp_path / "runs" / "linear").num_parameters == 2
    again = run_command("train", "linear", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert again.stderr.splitlines() == [
        "step 200 is restored",
        "all 200 steps are taken: runs/linear is finished",
    ]


@pytest.mark.training
def test_the_curves_are_drawn_beside_the_run_and_where_they_are_wanted(tmp_path: Path):
    done = run_command("train", "linear", "--plot", "fit.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("curves: curves.png, fit.svg\n")
    assert (tmp_path / "runs/linear/curves.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "fit.svg").read_text("utf-8")
    (tmp_path / "runs/linear/curves.png").write_bytes(b"mine")
    again = run_command("train", "linear", cwd=tmp_path)
    assert again.returncode == 0
    assert "curves: not drawn, runs/linear/curves.png: is there already" in again.stdout
    assert (tmp_path / "runs/linear/curves.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "why"), [("a.txt", "ends with .txt"), ("mine.png", "is there already")]
)
def test_a_picture_that_cannot_be_saved_is_refused_before_training(
    tmp_path: Path, name: str, why: str
):
    (tmp_path / "mine.png").write_bytes(b"mine")
    done = run_command("train", "linear", "--plot", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"explorer: {name}: {why}")
    assert [each.name for each in tmp_path.iterdir()] == ["mine.png"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """Return a run that nothing stops, and its folder."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    return run(settings_of("linear", LONG), folder), folder


@pytest.mark.usefixtures("interrupted")
def test_killed_and_started_again_it_ends_where_it_would_have(
    uninterrupted: tuple[Finished, Path], tmp_path: Path
):
    (finished, folder), number = uninterrupted, signal.SIGTERM
    changes = [part for change in LONG for part in ("--set", change)]
    arguments = ["linear", *changes, "--out", "stopped"]
    process = begin(*arguments, cwd=tmp_path, **AS_HERE)
    assert process.stderr is not None
    assert any(line.startswith("step ") for line in process.stderr)  # the first of them
    process.send_signal(number)
    out, messages = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    (steps,) = ex.load(tmp_path / "stopped", select="step").values()
    assert 0 < steps < 3000
    assert messages.splitlines()[-1] == (
        f"{number.name} came after step {steps:,}; saved in stopped: the same command resumes "
        "there"
    )
    done = run_command("train", *arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == f"step {steps:,} is restored"
    assert done.stdout.splitlines()[:3] == list(finished.lines)
    folders = (folder, tmp_path / "stopped")
    histories = [read_jsonl(place / "history.jsonl") for place in folders]
    one, other = ([(r.step, r.metrics) for r in history.records] for history in histories)
    assert one == other
    assert same(*map(ex.load, folders))


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize(
    ("made", "number"),
    [
        ("runs/linear/run.json", signal.SIGTERM),
        ("runs/linear/history.jsonl", signal.SIGINT),
    ],
)
def test_a_signal_while_a_run_is_set_up_stops_it(
    tmp_path: Path, number: signal.Signals, made: str
):
    """The first file is written before there is a state, the other before a step is compiled."""
    process = begin("linear", "--set", "steps=1000000", cwd=tmp_path)
    wait_for(tmp_path / made, process)
    process.send_signal(number)
    out, messages = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert re.sub(" step [0-9,]+", " step N", messages.splitlines()[-1]) == (
        f"{number.name} came after step N; saved in runs/linear: the same command resumes "
        "there"
    )


@pytest.mark.usefixtures("interrupted")
def test_a_second_ctrl_c_ends_it_at_once_and_in_order(tmp_path: Path):
    """It may come while XLA compiles in a thread that outlives Python."""
    process = begin("digits", "--set", "steps=1000000", cwd=tmp_path)
    wait_for(tmp_path / "runs/digits/history.jsonl", process)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    _, messages = process.communicate(timeout=60)
    # the last may have come when there was nothing left to end
    assert process.returncode in (130, -signal.SIGINT), messages
    assert "Traceback" not in messages


def test_ctrl_c_in_a_callback_is_not_lost():
    """Raised in a callback, where exceptions are lost, it is raised again in the main thread."""
    done = subprocess.run(
        [sys.executable, "-c", IN_CALLBACK],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("heard\n", "")


IN_CALLBACK = """
import signal, threading
from explorer.cli.train import _silence_libraries
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupted:
    def __del__(self):
        raise KeyboardInterrupt

_silence_libraries()
try:
    Interrupted()
    threading.Event().wait(60)
except KeyboardInterrupt:
    print("heard")
"""


def train_within(limit: str, *arguments: str, cwd: Path):
    """Return how the command ends under a limit of the shell's `ulimit`."""
    return subprocess.run(
        ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *COMMAND, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )


def same(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_a_full_disk_is_one_line_and_with_room_again_the_same_command_goes_on(
    tmp_path: Path,
):
    """No file may grow beyond 1 kB: the system refuses to write as it does on a full disk."""
    arguments = ["linear", "--set", "steps=2"]
    full = train_within("-f 2", *arguments, cwd=tmp_path)
    assert full.returncode == 2
    assert full.stdout == ""
    assert full.stderr.splitlines()[-1] == (
        f"explorer: {tmp_path}/runs/linear: cannot hold the checkpoint of step 2 (File too "
        "large); expected a folder on a disk with room; make room, or train into another folder"
    )
    assert "Traceback" not in full.stderr
    left = sorted(os.listdir(tmp_path / "runs/linear"))
    assert left == [".lock", "history.jsonl", "run.json"]
    done = run_command("train", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ex.load(tmp_path / "runs/linear", select="step")["step"] == 2


def test_a_model_larger_than_memory_is_one_line(tmp_path: Path):
    """A layer of 2^20 x 2^20 numbers, where no process may have more than 32 GB."""
    arguments = ["digits", "--set", "width=1048576"]
    done = train_within("-v 32000000", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "explorer: the recipe digits: needs more memory than there is (Out of memory "
        f"allocating {4 * 2**40} bytes); train into another folder with a smaller width or "
        "batch\n"
    )


def test_a_folder_in_use_is_refused_and_not_touched_but_can_be_read(tmp_path: Path):
    folder = tmp_path / "runs" / "linear"
    run(settings_of("linear", ["steps=2"]), folder)
    lock = Lock(folder)
    before = contents(folder)
    done = train("linear", "--set", "steps=2", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"explorer: {folder}: is in use by process {os.getpid()} on {os.uname().nodename}; "
        "expected a folder that no run is using; wait for that run to end, or train into "
        "another folder\n"
    )
    assert contents(folder) == before
    assert ex.explore(folder).num_parameters == 2
    lock.release()
    again = run_command("train", "linear", "--set", "steps=2", cwd=tmp_path)
    assert again.returncode == 0


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def test_settings_are_printed(tmp_path: Path):
    done = run_command("train", "linear", "--settings", "--set", "steps=7", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert {"steps=7", "learning_rate=0.5", "noise=0.1"} <= set(lines)
    assert not list(tmp_path.iterdir())


ERRORS = {
    "recipe": (
        ["lineal"],
        "lineal: no such recipe; expected one of linear, digits, charlm, lora; did you mean linear?",
    ),
    "setting": (
        ["linear", "--set", "step=7"],
        "--set step=7: linear has no setting 'step'; expected one of seed, steps, batch, "
        "learning_rate, eval_every, save_every, watch_every, steps_per_call, accumulate, "
        "freeze, a, b, noise, points; did you mean steps?",
    ),
    "folder": (
        ["linear", "--out", "."],
        "{folder}: holds 'thesis.txt' and no run.json; expected an empty folder, or the one of "
        "this run; train into another folder",
    ),
    "file": (
        ["linear", "--out", "thesis.txt"],
        "{folder}/thesis.txt: is a file; expected a folder, or a name that is free; train into "
        "another folder",
    ),
    "no name": (
        ["linear", "--out", ""],
        "folder: has no name; expected a folder of the run",
    ),
    "diverged": (
        ["linear", "--set", "learning_rate=1000", "--out", "wild"],
        "wild: step {step}: the loss is inf, gradients are not finite in linear/bias, linear/kernel; "
        "expected finite numbers; train into another folder with a smaller learning_rate",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(tmp_path: Path, case: str):
    (tmp_path / "thesis.txt").write_text("years of work")
    args, message = ERRORS[case]
    done = run_command("train", *args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    *before, last = done.stderr.splitlines()
    message = message.replace("{folder}", os.path.realpath(tmp_path))
    assert re.sub("step [0-9]+", "step {step}", last) == f"explorer: {message}"
    assert all(re.match("[1-6] |step |compiling ", line) for line in before)
