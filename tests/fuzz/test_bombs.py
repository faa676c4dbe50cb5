"""Every built bomb keeps the promises of docs/security.md, and a few changed seeds of each format."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzzing
from tests.fuzz.bombs import BOMBS
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


PROMISES = """
from tests.fuzz.measure import broken_promise, run

def crash():
    raise ValueError("as a library says")

def hoard():
    return len(bytearray(b"x") * 200_000_000) * 0

for action in (crash, hoard, lambda: 0):
    print(broken_promise(run(action), 10))
"""


def test_a_broken_promise_is_seen():
    done = subprocess.run(
        [sys.executable, "-c", PROMISES], capture_output=True, text=True, check=True
    )
    crashed, hoarded, kept, _ = done.stdout.split("\n")
    assert "crashed: ValueError: as a library says" in crashed
    assert "bytes of memory, 64,000,500 at most" in hoarded
    assert kept == ""
    with tempfile.TemporaryDirectory() as folder:
        assert fuzzing.size_of(Path(folder)) == 0
