"""explorer train as a user meets it: results, interruptions, and one line an error."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.training.history import read_jsonl
from explorer.training.recipes import settings_of
from explorer.training.recipes.linear import draw_points
from explorer.training.recipes.running import Finished, run

# noise and small batches: another order, or a step too many, would show
LONG = ["steps=3000", "batch=16", "learning_rate=0.05", "save_every=500"]
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


def test_linear_prints_the_line_and_what_is_in_the_model(tmp_path: Path):
    done = train("linear", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    points = draw_points(settings_of("linear"))
    a, b = np.polyfit(points["x"][:, 0].astype(float), points["y"][:, 0].astype(float), 1)
    lines = done.stdout.splitlines()
    assert lines[0] == f"learned        y = {a:.6f} x + {b:.6f}"
    assert "2 parameters in 2 tensors = 1 weights + 1 biases" in lines
    assert lines[-1] == "saved in runs/linear: explorer show runs/linear"
    told = done.stderr.splitlines()
    assert told[0].startswith("step 1/200  loss ")
    assert told[-2].startswith("step 200/200  loss ")
    assert told[-1] == "all 200 steps are taken: runs/linear is finished"
    assert "\x1b" not in done.stdout + done.stderr
    assert ex.explore(tmp_path / "runs" / "linear").num_parameters == 2
    again = train("linear", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert again.stderr.splitlines() == [
        "step 200 is restored",
        "all 200 steps are taken: runs/linear is finished",
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """Return the run that nothing stops, and its folder."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return run(settings_of("linear", LONG), folder), folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_killed_and_started_again_it_ends_where_it_would_have(
    whole: tuple[Finished, Path], tmp_path: Path, number: signal.Signals
):
    finished, folder = whole
    changes = [part for change in LONG for part in ("--set", change)]
    arguments = ["linear", *changes, "--out", "stopped"]
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("step ")
    process.send_signal(number)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    (steps,) = ex.load(tmp_path / "stopped", select="step").values()
    assert 0 < steps < 3000
    assert told.splitlines()[-1] == (
        f"{number.name} came after step {steps:,}; stopped has it: the same command goes on "
        "from there"
    )
    done = train(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == f"step {steps:,} is restored"
    assert done.stdout.splitlines()[:3] == list(finished.lines)
    folders = (folder, tmp_path / "stopped")
    histories = [read_jsonl(place / "history.jsonl") for place in folders]
    one, other = ([(r.step, r.metrics) for r in history.records] for history in histories)
    assert one == other
    assert same(*map(ex.load, folders))


def same(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_a_full_disk_is_one_line_and_with_room_again_the_same_command_goes_on(
    tmp_path: Path,
):
    """No file may grow beyond 1 kB: the system refuses to write as it does on a full disk."""
    arguments = ["linear", "--set", "steps=2"]
    full = subprocess.run(
        ["sh", "-c", 'ulimit -f 2; exec "$@"', "sh", *COMMAND, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert full.returncode == 2
    assert full.stdout == ""
    assert full.stderr.splitlines()[-1] == (
        f"explorer: {tmp_path}/runs/linear: cannot hold the checkpoint of step 2 (File too "
        "large); expected a folder on a disk with room; make room, or train into another folder"
    )
    assert "Traceback" not in full.stderr
    done = train(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ex.load(tmp_path / "runs/linear", select="step")["step"] == 2


def test_settings_are_printed(tmp_path: Path):
    done = train("linear", "--settings", "--set", "steps=7", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert {"steps=7", "learning_rate=0.5", "noise=0.1"} <= set(lines)
    assert not list(tmp_path.iterdir())


ERRORS = {
    "recipe": (
        ["lineal"],
        "lineal: no such recipe; expected one of linear, digits, charlm; did you mean linear?",
    ),
    "setting": (
        ["linear", "--set", "step=7"],
        "--set step=7: linear has no setting 'step'; expected one of seed, steps, batch, "
        "learning_rate, eval_every, save_every, watch_every, a, b, noise, points; did you mean "
        "steps?",
    ),
    "folder": (
        ["linear", "--out", "."],
        "{folder}: holds 'thesis.txt' and no run.json; expected an empty folder, or the one of "
        "this run; train into another folder",
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
    done = train(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    *before, last = done.stderr.splitlines()
    message = message.replace("{folder}", os.path.realpath(tmp_path))
    assert re.sub("step [0-9]+", "step {step}", last) == f"explorer: {message}"
    assert all(line.startswith("step ") for line in before)
