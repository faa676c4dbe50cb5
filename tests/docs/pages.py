"""The sessions of the Markdown pages: shell commands and Python examples, with what they print."""

import doctest
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGES", "ROOT", "Block", "Session", "blocks", "examples", "run", "sessions"]

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
WIDTH = "100"


class Block(NamedTuple):
    """A fenced block of a page; `start` and `end` are offsets of its text."""

    language: str
    text: str
    start: int
    end: int


class Session(NamedTuple):
    """A command and what it prints; `start` and `end` are offsets of the output in the page."""

    command: str
    output: str
    start: int
    end: int


def blocks(page: str, language: str) -> Iterator[Block]:
    """Yield the fenced blocks of a language."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        if found[1] == language:
            yield Block(language, found[2], found.start(2), found.end(2))


def sessions(page: str) -> Iterator[Session]:
    """Yield the commands of the `console` blocks."""
    for block in blocks(page, "console"):
        for found in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
            start, end = (block.start + place for place in found.span(2))
            yield Session(found[1], found[2], start, end)


def examples(page: str) -> Iterator[tuple[Block, list[doctest.Example]]]:
    """Yield the Python blocks that show results, and the examples in each."""
    for block in blocks(page, "python"):
        line = page.count("\n", 0, block.start)
        found = doctest.DocTestParser().get_examples(block.text)
        for example in found:
            example.lineno += line
        yield block, found


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a reader would at the root of a checkout, 100 columns wide.

    Files and runs that a session writes (`params.lock`, `runs/`) go to a folder that is
    removed afterwards.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("checkpoints", "examples"):
            (Path(folder) / name).symlink_to(ROOT / name)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": WIDTH},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
