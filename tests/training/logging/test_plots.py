"""A figure shows the numbers of the history, whatever they are and are called."""

import re
import subprocess
import sys

import numpy as np
import pytest

from explorer.errors import InputError, MissingPackageError
from explorer.training.logging.curves import joined_curve, layer_of
from explorer.training.logging.history import History, Run
from tests.training.logging.test_history import run_of, table_of

NAMES = ("attention/query/kernel", "attention_norm/scale", "mlp/up_proj/kernel")
ROWS = (
    "embed/embedding", "final_norm/scale",
    *(f"layers_{layer}/{name}" for layer in range(12) for name in NAMES),
    "lm_head/kernel",
)  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"


def panels_of(figure):
    return {panel.get_title(loc="left"): panel for panel in figure.axes}


def lines_of(panel):
    return {line.get_label(): line.get_xydata() for line in panel.lines if line.get_label()[0] != "_"}  # fmt: skip


def test_three_panels_of_the_numbers(tmp_path):
    history = run_of(40, rows=ROWS)
    figure = history.plot(tmp_path / "run.png", column="grad_norm")
    assert (tmp_path / "run.png").read_bytes().startswith(PNG)
    loss, ratios, heat = panels_of(figure).values()
    assert [p.get_title(loc="left") for p in (loss, ratios, heat)] == [
        "loss",
        "norm of the update / norm of the parameters (1e-3 is a common aim)",
        "grad_norm, layer by layer",
    ]
    steps = np.arange(1, 41)
    np.testing.assert_allclose(lines_of(loss)["loss"], np.stack([steps, 4 / steps], 1))
    assert set(lines_of(ratios)) == {"embedding", "attention", "mlp", "norm", "head"}
    assert loss.get_xlim() == ratios.get_xlim() == heat.get_xlim()


def test_the_heat_map_has_a_line_a_layer_from_the_input_up():
    history = run_of(40, rows=ROWS)
    heat = panels_of(history.plot(column="rms"))["rms, layer by layer"]
    labels = [label.get_text() for label in heat.get_yticklabels()]
    assert labels == ["embed", *(f"layers_{n}" for n in range(12)), "final_norm", "lm_head"]
    assert heat.yaxis_inverted()
    (mesh,) = heat.collections
    run = Run(history.records, history.rows, history.columns)
    layers, (steps, values) = joined_curve(run, "rms", layer_of)
    wanted = [values[:, layers.index(label)] for label in labels]
    np.testing.assert_allclose(mesh.get_array(), wanted)
    edges = mesh.get_coordinates()[0, :, 0]
    assert (edges[:-1] < steps).all()
    assert (steps < edges[1:]).all()
    # steps 1 and 40, of which the last is not watched, are in it
    assert (edges[0], edges[-1]) == heat.get_xlim()
    assert edges[0] < 1 < 40 < edges[-1]


def test_what_is_0_has_no_colour_and_no_place_among_logarithms():
    history = History(["embed/kernel", "head/kernel"])
    tables = [np.full((2, 9), value, "f4") for value in (0, 1e-9, 1e-3, 1)]
    tables[-1][1] = 0
    for step, table in enumerate(tables):
        history.append(step, {"loss": 1.0}, table)
    _, ratios, heat = history.plot().axes
    assert heat.get_title(loc="left") == "update_ratio, layer by layer (grey: 0)"
    (mesh,) = heat.collections
    cells = mesh.get_array()
    np.testing.assert_array_equal(cells.mask, [[1, 0, 0, 0], [1, 0, 0, 1]])
    assert mesh.norm.vmin == pytest.approx(1e-5)
    (bar,) = heat.child_axes
    assert bar.get_ylim() == pytest.approx((1e-5, 1))
    assert np.isnan(lines_of(ratios)["embed/kernel"][0, 1])
    # a fraction of 0 is one as good as others
    _, _, heat = history.plot(column="zeros").axes
    assert heat.get_title(loc="left") == "zeros, layer by layer"
    np.testing.assert_allclose(heat.collections[0].get_array()[1], [0, 1e-9, 1e-3, 0])


@pytest.mark.parametrize(("tensors", "lines"), [(1, 1), (2, 2), (6, 6), (7, 1)])
def test_few_tensors_have_a_line_each(tensors, lines):
    rows = [f"linear/{name}" for name in ("bias", "kernel", *"abcde")[:tensors]]
    history = run_of(40, rows=tuple(rows))
    _, ratios, _ = panels_of(history.plot()).values()
    found = lines_of(ratios)
    assert len(found) == lines
    assert [text.get_text() for text in ratios.get_legend().get_texts()] == list(found)
    if lines == tensors:
        names, (steps, values) = history.watched("update_ratio")
        assert tuple(found) == names
        for name, curve in zip(names, values.T, strict=True):
            np.testing.assert_allclose(found[name], np.stack([steps, curve], 1))


def test_of_a_hundred_layers_some_have_a_line():
    rows = tuple(f"layers_{n}/mlp/kernel" for n in range(100))
    _, ratios, _ = panels_of(run_of(10, rows=rows).plot()).values()
    found = [int(name.removeprefix("layers_")) for name in lines_of(ratios)]
    assert (len(found), found[0], found[-1]) == (8, 0, 99)
    assert ratios.get_legend().get_title().get_text() == "8 of 100"


def test_a_run_without_update_ratios_is_drawn_under_the_name_of_what_it_has():
    history = History(["a/kernel"], ["norm"])
    history.append(1, {"loss": 1.0}, np.ones((1, 1)))
    _, lines, _ = panels_of(history.plot(column="norm"))
    assert lines == "norm"


def test_a_smoothed_loss_begins_and_falls_as_the_loss_does():
    history = History()
    for step in range(200):
        history.append(step, {"loss": 3.8 * 0.9**step})
    faint, bold = history.plot().axes[0].lines
    sure = slice(0, 198)  # the last values are means of those before them
    np.testing.assert_allclose(bold.get_xydata()[sure], faint.get_xydata()[sure], rtol=1e-9)
    np.testing.assert_allclose(bold.get_ydata()[sure], 3.8 * 0.9 ** np.arange(198))


def test_of_a_hundred_layers_some_are_named():
    rows = [f"layers_{n}/kernel" for n in range(100)]
    heat = panels_of(run_of(10, rows=tuple(rows)).plot())["update_ratio, layer by layer"]
    labels = [label.get_text() for label in heat.get_yticklabels()]
    assert labels == [f"layers_{n}" for n in range(0, 100, 3)]


def test_a_run_that_is_not_watched_has_one_panel():
    history = History()
    for step in range(1, 300):
        history.append(step, {"loss": 1e4 / step**2} | ({"eval_loss": 2.0} if step % 50 == 0 else {}))  # fmt: skip
    figure = history.plot()
    (panel,) = figure.axes
    assert set(lines_of(panel)) == {"loss", "eval_loss"}
    assert panel.get_yscale() == "log"
    assert (
        len(panel.lines[0].get_xydata()) == 299
    )  # the noise that is smoothed is shown too


@pytest.mark.parametrize("column", ["norm", "mean", "update_ratio"])
@pytest.mark.parametrize("kind", ["random", "zero", "nan", "negative", "huge"])
def test_any_numbers_are_drawn(column, kind):
    table = {
        "random": table_of(1, 3),
        "zero": np.zeros((3, 9), "f4"),
        "nan": np.where(np.arange(9) == 0, 1, np.nan) * np.ones((3, 1), "f4"),
        "negative": -table_of(1, 3),
        "huge": table_of(1, 3) * np.float32(3e38),
    }[kind]
    history = History(["a_0/kernel", "a_0/bias", "b"])
    history.append(1, {"loss": np.nan}, table)
    if kind == "huge":
        history.append(5, {"loss": np.inf}, table * np.inf)
    history.plot(column=column).draw_without_rendering()


def test_names_are_not_formulas(tmp_path):
    history = History([r"$\frac_0/kernel", "$x/^_"])
    history.append(1, {r"$\loss$": 1.0, "eval_$^loss": 2.0}, table_of(1, 2))
    history.append(2, {r"$\loss$": 1.0, "eval_$^loss": 2.0}, table_of(2, 2))
    history.plot(tmp_path / "run.png")


def test_notebooks_show_it_and_no_state_is_left():
    script = (
        "import sys; from explorer.training.logging.history import History;"
        "h = History(); h.append(1, {'loss': 1.0});"
        "import matplotlib; keep = lambda: {k: v for k, v in matplotlib.rcParams.copy().items()};"
        "before = keep();"
        "assert h.plot()._repr_png_().startswith(b'\\x89PNG');"
        "assert keep() == before;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "explorer.training.logging.plots", raising=False)
    monkeypatch.delitem(sys.modules, "explorer.document.figures", raising=False)
    with pytest.raises(MissingPackageError, match=r"^plot: needs matplotlib, which is not installed; pip install -e '\.\[plot\]' in the repository$"):  # fmt: skip
        run_of(1).plot()


def test_what_cannot_be_drawn_or_saved(tmp_path):
    with pytest.raises(
        InputError, match=r"^History.plot: no steps; expected a run that has started$"
    ):
        History().plot()
    with pytest.raises(InputError, match=r"run.txt: ends with .txt; expected .png, .svg or .pdf$"):  # fmt: skip
        run_of(2).plot(tmp_path / "run.txt")
    missing = tmp_path / "none" / "run.png"
    with pytest.raises(InputError, match=re.escape(f"{missing}: cannot be written: No such file or directory; ")):  # fmt: skip
        run_of(2).plot(missing)
