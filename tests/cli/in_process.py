"""The command, run inside the tests' own process: what it prints, and its exit code."""

import os
import sys
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from explorer.cli.main import cli

__all__ = ["Outcome", "printed", "run"]


class Outcome(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*args: object, cwd: Path | None = None, **env: str) -> Outcome:
    """Return how a command ends.

    Args:
        *args: the words of the command line.
        cwd: the folder to run it in.
        **env: environment variables, in which there is neither NO_COLOR nor COLUMNS else.
    """
    variables: dict[str, str | None] = {"NO_COLOR": None, "COLUMNS": None, **env}
    # `train` replaces the hook, and a target in Python code adds its folder to the path
    hook, path = sys.unraisablehook, list(sys.path)
    with chdir(cwd or os.getcwd()):
        done = CliRunner().invoke(cli, [str(arg) for arg in args], env=variables)
    sys.unraisablehook, sys.path[:] = hook, path
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    return Outcome(done.exit_code, done.stdout, done.stderr)


def printed(*args: object) -> str:
    """Return what a command that succeeds prints; nothing is on stderr."""
    done = run(*args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
