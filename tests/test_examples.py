"""Every example runs; those with real weights run in tests/real."""

import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REAL = ("embed_sentences", "fine_tune_minilm")
ELSEWHERE = ("nnx_transformer",)  # in tests/training, with arguments
EXAMPLES = sorted(
    path
    for path in (Path(__file__).parents[1] / "examples").glob("*.py")
    if path.stem not in (*REAL, *ELSEWHERE)
)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_example(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
