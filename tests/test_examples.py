"""Every example runs; those with real weights run in tests/real."""

import subprocess
import sys
from pathlib import Path

import pytest

REAL = ("embed_sentences",)
EXAMPLES = sorted(
    path
    for path in (Path(__file__).parents[1] / "examples").glob("*.py")
    if path.stem not in REAL
)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_example(path: Path):
    done = subprocess.run(
        [sys.executable, path],
        capture_output=True,
        text=True,
        check=False,
        cwd=path.parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
