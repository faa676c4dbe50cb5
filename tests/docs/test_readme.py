"""What the README shows is what the commands print."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = [
    (command, output)
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


@pytest.mark.parametrize(("command", "output"), SESSIONS, ids=[c for c, _ in SESSIONS])
def test_session(command: str, output: str, tmp_path: Path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command.replace("make explore", "make --silent explore").replace("params.lock", f"{tmp_path}/l"),
        shell=True,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    shown = [line.rstrip() for line in output.rstrip().splitlines()]
    printed = [line.rstrip() for line in done.stdout.rstrip().splitlines()]
    assert printed == shown


def test_python_examples():
    """Every >>> of the README runs and prints what it shows."""
    tests = doctest.DocTestParser().get_doctest(
        README, {"__name__": "__main__"}, "README.md", "README.md", 0
    )
    assert tests.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(tests).failed == 0


def test_sessions_are_found():
    assert len(SESSIONS) >= 4
