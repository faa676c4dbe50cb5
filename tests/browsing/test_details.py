"""What the pane says of a row, and what the lines of rows hold, without a screen."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.browsing.cells import header_pieces, row_pieces, share_strip
from explorer.browsing.details import details_of, name_at, place_lines
from explorer.browsing.outline import Outline
from explorer.browsing.search import find
from explorer.browsing.session import BrowsingSession
from explorer.browsing.state import RowView, first_view, rows_of
from explorer.browsing.subject import browsed, measured, no_values, spans_of
from explorer.browsing.value_details import chart_of, value_lines
from explorer.document.widths import width_of
from explorer.errors import InputError
from explorer.values.records import Statistics
from tests.browsing.layouts import hostile_file, inventories


def said(outline: Outline, path: tuple[int, ...]) -> dict[str, str]:
    """Return the first text of each term."""
    return {
        line.term: line.text for line in reversed(details_of(outline, path)) if line.term
    }


def test_a_folded_tensor_is_said_in_full():
    outline = Outline([ex.explore("gpt2")])
    lines = details_of(outline, (2, 1, 0))
    assert (lines[0].text, lines[0].kind) == ("layers_[0-11]/attention/query", "title")
    found = said(outline, (2, 1, 0))
    assert found["parameters"] == "7,087,104 (5.7% of all)"
    assert (found["  weights"], found["  biases"]) == ("7,077,888", "9,216")
    assert found["bytes"] == "28,348,416 (28.3 MB)"
    assert (found["shape"], found["dtype"]) == ("[768, 768]", "float32")
    assert found["role"] == "kernel: a weight, multiplies its input"
    assert found["known"] == "inferred (by its name and shape)"
    names = [line.text for line in lines if line.kind == "name"]
    assert names[:2] == ["layers_0/attention/query/kernel", "layers_0/attention/query/bias"]
    assert lines[-1].text == "and 20 more"


def test_state_and_second_names_say_so():
    outline = Outline([inventories()["state"]])
    texts = [
        line.text
        for path in rows_of(outline, first_view(outline))
        for line in details_of(outline, path)
    ]
    assert "batch_stats: state, not a parameter" in texts
    tied = Outline([inventories()["tied"]])
    texts = [line.text for path in tied.below(()) for line in details_of(tied, path)]
    assert "a second name, counted once (the same array object)" in texts


def test_a_traced_call_says_that_use_decided():
    def call(params, x):
        return x @ params["a"]

    inventory = ex.explore(
        (call, {"a": np.ones((3, 2), "float32")}, (np.ones((1, 3), "float32"),))
    )
    assert inventory.role_by == "use"
    assert (
        said(Outline([inventory]), (0,))["known"]
        == "by what the traced program does with it"
    )


def test_a_row_of_one_target_alone_is_said_to_be_missing():
    a, b = {"w": np.ones(2)}, {"w": np.ones(2), "b": np.ones(3)}
    outline = Outline([ex.explore(a), ex.explore(b)])
    texts = [line.text for line in details_of(outline, (1,))]
    assert texts.index("is not there") == texts.index("A: ") + 1
    assert said(outline, (1,))["parameters"] == "3 (60.0% of all)"
    equal = [line.text for line in details_of(outline, (0,))]
    assert "equal in both: names, shapes and formats" in equal


def test_the_name_of_a_copy_is_its_own():
    outline = Outline([ex.explore("gpt2")])
    assert name_at(outline, (*outline.copies((2,))[3], 1, 0)) == "layers_3/attention/query"


def test_places_in_a_file(tmp_path: Path):
    arrays = {f"layers.{n}.weight": np.ones((2, 2), "float32") for n in range(3)}
    save_file(arrays, tmp_path / "model.safetensors")
    subject = browsed(str(tmp_path / "model.safetensors"))
    outline, spans = Outline([subject.inventory]), spans_of(subject)
    assert spans is not None
    (path,) = outline.below(())
    end = (tmp_path / "model.safetensors").stat().st_size
    lines = [(line.term, line.text) for line in place_lines(outline, path, spans)]
    assert lines == [
        ("in file", "model.safetensors"),
        ("at bytes", f"{end - 48:,} to {end:,}"),
    ]
    one = outline.copies(path)[1]
    assert place_lines(outline, one, spans)[1].text == f"{end - 32:,} to {end - 16:,}"
    assert spans_of(browsed("gpt2")) is None


def figures(array: np.ndarray) -> list[tuple[str, str]]:
    """Return what is to be said of numbers, by NumPy in float64."""
    wide = array.astype("float64").ravel()
    zeros = int((wide == 0).sum())
    return [
        ("numbers", f"{wide.size:,}, all finite"),
        ("mean", f"{wide.mean():.4g}, std {wide.std():.4g}"),
        ("range", f"{wide.min():.4g} to {wide.max():.4g}"),
        ("zeros", f"{zeros:,} ({100 * zeros / wide.size:.1f}%)"),
    ]


def test_values_of_a_row_are_those_of_its_tensors_alone(tmp_path: Path):
    rng = np.random.default_rng(0)
    arrays = {
        f"h.{n}.{name}": rng.normal(n, 1, (50, 40)).astype("float32")
        for n in range(3)
        for name in ("w", "[0-9]*")
    }
    arrays["h.0.w"][:10] = 0
    save_file(arrays, tmp_path / "model.safetensors")
    subject = browsed(str(tmp_path / "model.safetensors"))
    outline = Outline([subject.inventory])
    for text, names in (
        ("w", ["h.0.w", "h.1.w", "h.2.w"]),
        ("[0-9]*", [n for n in arrays if n.endswith("*")]),
    ):
        keys = [key for key in arrays if key.endswith(text)]
        lines = value_lines(measured(subject, keys), 40)
        together = np.concatenate([arrays[name] for name in names])
        expected = figures(together)
        if text != "w":
            expected[-1] = ("zeros", "0 (0%)")
        assert [(line.term, line.text) for line in lines[1:5]] == expected
    assert outline.root.first.row.tensors == 6


def test_the_picture_has_a_bar_for_each_magnitude():
    numbers = np.concatenate(
        [np.full(n, 2.0**e) for e, n in ((-3, 100), (-2, 400), (-1, 200))]
    )
    exponents = np.frexp(numbers)[1] - 1
    histogram = {int(e): int((exponents == e).sum()) for e in set(exponents)}
    *bars, scale = chart_of(histogram, 9, height=4)
    assert bars == ["   ███   ", "   ███   ", "   ██████", "█████████"]
    assert scale == "magnitudes, 2^-3 to 2^0"
    assert chart_of({}, 9) == []


def test_infinite_numbers_and_none_at_all_are_said(tmp_path: Path):
    save_file(
        {
            "w": np.array([np.nan, np.inf, 1.0], "float32"),
            "step": np.array([3], "int64"),
            "count": np.array([4, 5]),
        },
        tmp_path / "m.safetensors",
    )
    subject = browsed(str(tmp_path / "m.safetensors"))
    assert value_lines(measured(subject, ["w"]), 40)[1].text == "3, 1 NaN, 1 infinite"
    texts = [line.text for line in value_lines(measured(subject, ["step", "count"]), 40)]
    assert {"step", "count", "3 to 3", "4 to 5"} <= set(texts)
    assert (
        no_values(browsed("gpt2"))
        == "none: this is an architecture, with shapes and no numbers"
    )
    with pytest.raises(InputError, match="has shapes and no values"):
        measured(browsed("gpt2"), ["embed/embedding"])


WIDTHS = [40, 60, 80, 100, 160]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("targets", [["gpt2"], ["llama-2-7b", "llama-2-13b"]])
def test_lines_are_as_wide_as_the_screen_and_figures_line_up(
    width: int, targets: list[str]
):
    outline = Outline([ex.explore(name) for name in targets])
    view = first_view(outline)
    pieces = [header_pieces(outline, width)]
    pieces += [row_pieces(outline, view, path, width) for path in rows_of(outline, view)]
    lines = ["".join(piece.text for piece in line) for line in pieces]
    assert {width_of(line) for line in lines} == {width}
    title = "parameters B" if len(targets) == 2 else "parameters"
    if title in lines[0]:
        end = lines[0].index(title) + len(title)
        assert all(line[end - 1].isdigit() for line in lines[1:])
    assert "parameters" in lines[0] or width < 60


def test_hostile_names_fill_their_lines_as_plain_text(tmp_path: Path):
    outline = Outline([ex.explore(hostile_file(tmp_path))])
    view = first_view(outline)
    for path in rows_of(outline, view):
        line = "".join(piece.text for piece in row_pieces(outline, view, path, 80))
        assert width_of(line) == 80
        assert line.isprintable()


def test_the_bar_of_components_is_full():
    inventory = ex.explore("deepseek-v3")
    shares = [*ex.ledger(inventory).components.items()]
    strip = share_strip(shares, 200)
    assert sum(len(piece.text) for piece in strip) == 200
    assert strip[0].word == "experts"
    assert share_strip([], 10) == []


def test_the_headline_is_that_of_show_and_of_compare():
    shown = str(ex.explore("gpt2")).splitlines()
    assert BrowsingSession([browsed("gpt2")]).headline == [shown[0], shown[2], shown[4]]
    pair = BrowsingSession([browsed("gpt2"), browsed("gpt2-medium")])
    assert (
        pair.headline[0]
        == "A: gpt2 (gpt2 architecture)   B: gpt2-medium (gpt2 architecture)"
    )
    assert "B has 354,823,168 parameters" in pair.headline[1]


def test_a_session_says_what_is_shown():
    session = BrowsingSession([browsed("gpt2")])
    assert session.status(0) == "row 1 of 14"
    for _ in range(3):
        session.filter_by("role")
    session.search("mlp")
    assert (
        session.status(0)
        == "row 1 of 12 · only bias: 102,144 of 124,439,808 parameters · “mlp”: 36 tensors in 2 rows (n: next)"
    )
    row = session.go_to_hit((), 1)
    assert row is not None
    assert session.status(row).endswith("“mlp”: 36 tensors in 1 of 2 rows (n: next)")
    for _ in range(3):
        session.filter_by("role")
    assert session.outline is not session.whole
    session.filter_none()
    assert session.outline is session.whole
    assert find(session.outline, RowView(), "mlp").tensors == 24 + 4 * 12
    session.search("nothing here")
    assert session.status(0).endswith("no name has “nothing here”")


def test_the_keys_of_components_go_through_the_legend(tmp_path):
    arrays = {
        "conv1/kernel": np.ones((4, 3)),
        "pooler/kernel": np.ones((2, 3)),
        "x": np.ones(2),
    }
    np.savez(tmp_path / "model.npz", **arrays)  # pyright: ignore[reportArgumentType]
    session = BrowsingSession([browsed(str(tmp_path / "model.npz"))])
    _, legend = session.strip(60)
    words = [piece.text.split()[0] for piece in legend if piece.word == "dim"]
    assert words == ["conv", "pooler", "unclassified"]
    for word, number in zip(words, (12, 6, 2), strict=True):
        session.filter_by("component")
        assert session.status(0).endswith(f"only {word}: {number} of 20 parameters")
    session.filter_by("component")
    assert session.outline is session.whole


def test_statistics_of_no_element():
    empty = Statistics(count=0, finite=0, min=None, max=None, mean=None, std=None, rms=None, l1=0.0, l2=0.0, zeros=0,
                       subnormals=0, nan=0, inf=0, first_nan=None, first_inf=None, quantiles={}, quantile_error=0.0, histogram={})  # fmt: skip
    found = ex.describe({"w": np.zeros((0, 3), "float32"), "b": np.ones(2, "float32")}, "w")
    assert found.tensors[0].statistics.count == empty.count
    assert value_lines(found, 40)[1].text == "0, all finite"
