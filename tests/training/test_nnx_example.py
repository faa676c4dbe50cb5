"""An annotated NNX transformer, a grain loader and eight devices: killed, resumed, read from."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import explorer as ex
from tests.training.devices import environment

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 12, 2


def start(folder: Path) -> subprocess.Popen[str]:
    """Return a process that runs the example."""
    return subprocess.Popen(
        [sys.executable, "examples/nnx_transformer.py", str(folder), str(STEPS)],
        cwd=ROOT,
        env=environment(devices=8),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(process: subprocess.Popen[str]) -> list[str]:
    """Return the lines of a process that ends well."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.splitlines()


def kill(process: subprocess.Popen[str], folder: Path) -> None:
    """Kill a process once it has written a checkpoint."""
    end = time.monotonic() + 300
    while not (folder / str(2 * EVERY)).is_dir():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str], Path]:
    """What a run without a stop prints, and what one that was killed and goes on."""
    folder = tmp_path_factory.mktemp("runs")
    killed = start(folder / "killed")
    kill(killed, folder / "killed")
    resumed, whole = start(folder / "killed"), start(folder / "whole")
    return printed(whole), printed(resumed), folder


def test_a_killed_run_goes_on_bit_for_bit(lines: tuple[list[str], list[str], Path]):
    _, resumed, folder = lines
    (going,) = (line for line in resumed if line.startswith("going on from step"))
    assert int(going.split()[-1]) < STEPS
    before, after = (
        ex.digest(folder / name / str(STEPS)).tensors for name in ("whole", "killed")
    )
    assert len(before) > 100
    assert before == after


def test_the_best_is_kept_and_writes_the_same(lines: tuple[list[str], list[str], Path]):
    whole, resumed, _ = lines
    assert whole[-2:] == resumed[-2:]  # which step was best, and what it writes
    assert whole[-2].startswith("best: step ")
    assert whole[-1].startswith("    def decode(")


def test_what_the_module_annotates_is_split_so(lines: tuple[list[str], list[str], Path]):
    (row,) = (line for line in lines[0] if line.startswith("blocks/0/up/kernel"))
    assert "-, tensor" in row
