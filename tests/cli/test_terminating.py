"""Whatever is being written when a signal comes: nothing of it stays, and the exit code says why."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkpoints import write_folder

LAYERS = {f"layers.{n}.mlp.up_proj.weight": ((4096, 16_384), "F32") for n in range(12)}
COMMANDS = {
    "convert": ["convert", "model", "out.npz"],
    "quantize": ["quantize", "model", "--to", "nf4", "-o", "out"],
    "prune": ["prune", "model", "--pattern", "2:4", "-o", "out"],
}


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize(
    ("command", "number"),
    [("convert", signal.SIGTERM), ("quantize", signal.SIGINT), ("prune", signal.SIGTERM)],
)
def test_a_signal_while_a_file_is_written(
    command: str, number: signal.Signals, tmp_path: Path
):
    write_folder(tmp_path / "model", LAYERS)
    with subprocess.Popen(
        [sys.executable, "-m", "explorer", *COMMANDS[command]],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not any(name.startswith(".out") for name in os.listdir(tmp_path)):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        out, messages = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert messages.strip() == "explorer: stopped"
    assert os.listdir(tmp_path) == ["model"]
