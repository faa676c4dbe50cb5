"""Every built bomb keeps the promises of docs/security.md, and a few changed seeds of each format."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzzing
from tests.fuzz.bombs import BOMBS
from tests.fuzz.measure import broken_promise, run
from tests.fuzz.seeds import FORMATS

pytestmark = [pytest.mark.slow, pytest.mark.process]


def in_a_new_process(*options: str) -> str:
    """What `make fuzz` prints: children are forked from a process that has nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_bombs():
    assert f"{len(BOMBS):9,} cases 0 faults" in in_a_new_process(
        "--formats", "npy", "--seconds", "1"
    )


def test_changed_seeds_of_every_format():
    said = in_a_new_process("--no-bombs", "--seconds", "20", "--seed", "1")
    assert len(said.splitlines()) == len(FORMATS) + 1  # and the stream of old PyTorch


def test_a_broken_promise_is_seen():
    def crash() -> int:
        raise ValueError("as a library says")

    def hoard() -> int:
        return len(bytearray(b"x") * 200_000_000) * 0

    assert "crashed: ValueError: as a library says" in broken_promise(run(crash), 10)
    assert "bytes of memory, 64,000,500 at most" in broken_promise(run(hoard), 10)
    assert broken_promise(run(lambda: 0), 10) == ""
    with tempfile.TemporaryDirectory() as folder:
        assert fuzzing.size_of(Path(folder)) == 0
