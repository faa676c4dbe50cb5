"""The notebook runs from its first cell to its last, and is stored without outputs."""

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
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


def check_figure(figure: Any, history: Any) -> None:
    """The figure shows the numbers of the history: loss, update ratios, layers."""
    loss, ratios, heat = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in loss.lines}
    assert set(lines) == {"loss", "eval_loss"}
    for name, points in lines.items():
        np.testing.assert_array_equal(points, np.stack(history.metric(name), 1))
    assert lines["eval_loss"][:, 0].tolist() == [10, 20]
    lines = {line.get_label(): line.get_xydata() for line in ratios.lines}
    whole, layers = (whole_ratios(history, g) for g in ("embed/*", "layers_0/**"))
    watched = whole > 0  # the rate begins at 0
    steps = np.array([1, 6, 11, 16])
    assert watched.tolist() == [False, True, True, True]
    np.testing.assert_array_equal(lines["embedding"][:, 0], steps)
    np.testing.assert_allclose(lines["embedding"][watched, 1], whole[watched])
    assert {"embedding", "attention", "mlp", "norm"} <= set(lines)
    shown = [label.get_text() for label in heat.get_yticklabels()]
    assert shown == ["embed", "layers_0", "final_norm"]
    cells = heat.collections[0].get_array()
    np.testing.assert_array_equal(cells.mask[0], ~watched)
    np.testing.assert_allclose(cells[:2, watched], [whole[watched], layers[watched]])


def whole_ratios(history: Any, glob: str) -> np.ndarray:
    """The norm of an update of tensors laid end to end, over that of these tensors."""
    (_, (_, ratios)), (_, (_, norms)) = (
        history.watched(column, glob) for column in ("update_ratio", "norm")
    )
    ratios, norms = ratios.astype(float), norms.astype(float)
    return np.sqrt(((ratios * norms) ** 2).sum(1) / (norms**2).sum(1))


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
    out, reported = capsys.readouterr()
    assert "all 20 steps are taken" in out
    assert "0 biases" in out
    assert "\nsample\ndef " in out
    assert "step 20/20  loss " in reported
    assert names["history"].metric("loss")[0].tolist() == list(range(1, 21))
    check_figure(names["figure"], names["history"])
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
        [sys.executable, "-m", "pip", "install", "--quiet", "/content/explorer[plot]"]
    ]
