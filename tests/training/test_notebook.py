"""The notebook runs from its first cell to its last, and is stored without outputs."""

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "colab_tpu.ipynb"
TINY = (
    "width=16 layers=1 heads=2 length=16 characters=20000 steps=20 batch=8 "
    "eval_every=10 watch_every=5 sample=20"
)


def cells(kind: str) -> list[dict[str, Any]]:
    found = json.loads(NOTEBOOK.read_bytes())["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def run(cell: dict[str, Any], names: dict[str, Any]) -> None:
    exec(compile("".join(cell["source"]), cell["id"], "exec"), names)


def test_it_is_a_notebook_without_outputs():
    notebook = json.loads(NOTEBOOK.read_bytes())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in cells("code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        assert set(cell) == {
            "cell_type", "id", "metadata", "execution_count", "outputs", "source"
        }  # fmt: skip
    for cell in cells("markdown"):
        assert set(cell) == {"cell_type", "id", "metadata", "source"}


def test_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("EXPLORER_SETTINGS", TINY)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells("code"):
        run(cell, names)
    out, told = capsys.readouterr()
    assert "all 20 steps are taken" in out
    assert "0 biases" in out
    assert "\nsample\ndef " in out
    assert "step 20/20  loss " in told
    assert names["history"].metric("loss")[0].tolist() == list(range(1, 21))
    assert names["figure"].axes
    assert not list(tmp_path.iterdir())


def test_it_installs_in_colab_alone(monkeypatch: pytest.MonkeyPatch):
    ran: list[list[str]] = []
    monkeypatch.setattr(subprocess, "check_call", ran.append)
    (install,) = [cell for cell in cells("code") if cell["id"] == "install"]
    run(install, {})
    assert ran == []
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    run(install, {})
    assert ran == [
        [sys.executable, "-m", "pip", "install", "--quiet", "jax-explorer[orbax,plot]"]
    ]
