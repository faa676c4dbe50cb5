"""The browser under textual's pilot: keys, panes, values on demand, and what is on the screen."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from textual.pilot import Pilot
from textual.widgets import Input, Static

from explorer.browsing.app import BrowserApp
from explorer.browsing.details import name_at
from tests.browsing.layouts import hostile_file, unequal
from tests.browsing.screens import browse, lines_of, settled

SHOWN = Path(__file__).parents[1] / "data" / "browsing"


def here(app: BrowserApp) -> str:
    return name_at(app.session.outline, app.here)


def screen(app: BrowserApp) -> list[str]:
    return lines_of(app.export_screenshot())


def status(app: BrowserApp) -> str:
    return str(app.query_one("#status", Static).content)


async def search(pilot: Pilot, app: BrowserApp, text: str) -> None:
    """Search for a text, put into the field at once: each key takes a while."""
    await pilot.press("slash")
    app.query_one("#search", Input).value = text
    await pilot.press("enter")


def pane(app: BrowserApp) -> str:
    """Return what the pane says, without its line ends."""
    return " ".join(str(app.query_one("#said", Static).content).split())


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Write a model of three layers with known numbers."""
    rng = np.random.default_rng(7)
    arrays = {"embed.weight": rng.normal(size=(40, 8)).astype("float32")}
    for layer in range(3):
        arrays[f"layers.{layer}.mlp.up.weight"] = rng.normal(layer, 1, (8, 16)).astype(
            "float32"
        )
        arrays[f"layers.{layer}.mlp.up.bias"] = np.zeros(16, "float32")
    save_file(arrays, tmp_path / "small.safetensors")
    return str(tmp_path / "small.safetensors"), arrays


@pytest.mark.parametrize("size", [(132, 30), (80, 24)])
def test_the_screen_is_the_one_that_was_kept(size: tuple[int, int]):
    """Compared are lines of text: identifiers and colours of the picture change with textual."""

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press(*["down"] * 5)
        await settled(pilot, app)
        kept = SHOWN / f"gpt2_{size[0]}.txt"
        assert screen(app) == kept.read_text("utf-8").splitlines()

    browse(["gpt2"], script, size)


def test_keys_move_open_and_close():
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        assert here(app) == "embed"
        await pilot.press("down", "down")
        assert here(app) == "layers_[0-11]"
        await pilot.press("left")
        assert len(app.session.rows) == 4
        await pilot.press("right", "right", "down")
        assert here(app) == "layers_[0-11]/attention"
        await pilot.press("right", "enter", "down")
        assert here(app) == "layers_[0-11]/attention/query/kernel"
        await pilot.press("left", "left", "left", "left")
        assert here(app) == "layers_[0-11]/attention"
        await pilot.press("end")
        assert here(app) == "final_norm"
        await pilot.press("pageup", "home")
        assert here(app) == "embed"

    browse(["gpt2"], script)


def test_a_search_goes_from_hit_to_hit():
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press("slash", *"norm")
        assert status(app) == "50 tensors: enter to go there, escape to leave"
        await pilot.press("enter")
        assert here(app) == "layers_[0-11]/attention_norm"
        assert status(app) == "row 4 of 14 · “norm”: 50 tensors in 1 of 3 rows (n: next)"
        await pilot.press("n", "n")
        assert here(app) == "final_norm"
        await pilot.press("n")
        assert here(app) == "layers_[0-11]/attention_norm"
        await pilot.press("N")
        assert here(app) == "final_norm"
        await pilot.press("slash", "x", "escape")
        assert not app.query_one("#search", Input).display
        assert app.session.hits.text == "norm"
        await pilot.press("escape")
        assert status(app) == "row 14 of 14"
        await search(pilot, app, "QUERY")
        assert here(app) == "layers_[0-11]/attention/query"

    browse(["gpt2"], script)


def test_a_filter_shows_one_role_then_the_next_then_all():
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        seen = []
        for _ in range(5):
            await pilot.press("r")
            seen.append(app.session.wanted.role)
        assert seen == ["kernel", "embedding", "bias", "scale", ""]
        await pilot.press("r", "c")
        assert (app.session.wanted.role, app.session.wanted.component) == ("kernel", "mlp")
        assert status(app).endswith(
            "only kernel, mlp: 56,623,104 of 124,439,808 parameters"
        )
        await pilot.press(
            "c"
        )  # no kernel is an embedding: the next component that has some
        assert app.session.outline.root.parameters() == 12 * 4 * 768 * 768
        await pilot.press("c", "c")
        assert app.session.wanted.component == "mlp"
        await pilot.press("escape")
        assert app.session.wanted.is_any
        assert len(app.session.rows) == 14

    browse(["gpt2"], script)


def test_a_target_without_tensors_has_no_row(tmp_path: Path):
    save_file({}, tmp_path / "none.safetensors")

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        assert app.session.rows == []
        await pilot.press(
            "enter", "s", "down", "left", "right", "u", "o", "n", "r", "c", "escape"
        )
        await settled(pilot, app)
        assert status(app).startswith("row 0 of 0")

    browse([str(tmp_path / "none.safetensors")], script)


def test_rows_are_clicked_and_sorted():
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.click("#rows", offset=(4, 2))
        assert here(app) == "layers_[0-11]"
        await pilot.click("#rows", offset=(4, 2))
        assert len(app.session.rows) == 4
        await pilot.press("enter", "home")
        await pilot.press("o")
        top = [app.session.outline.item(p).name for p in app.session.rows if len(p) == 1]
        assert top == ["layers_[0-11]", "embed", "position_embed", "final_norm"]
        assert here(app) == "embed"
        assert status(app) == "row 12 of 14 · by parameters"
        await pilot.press("o", "o")
        assert status(app).endswith("by name")
        await pilot.press("o")
        assert app.session.view.order == "source"

    browse(["gpt2"], script)


def test_values_are_those_of_numpy(small):
    path, arrays = small

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await search(pilot, app, "layers")
        assert here(app) == "layers/[0-2]/mlp/up"
        assert "s: statistics" in pane(app)
        await pilot.press("s")
        await settled(pilot, app)
        wide = np.concatenate(
            [arrays[k].ravel().astype("float64") for k in arrays if k.startswith("layers")]
        )
        shown = pane(app)
        assert "values of 6 tensors" in shown
        assert f"{wide.size:,}, all finite" in shown
        assert f"{wide.mean():.4g}, std {wide.std():.4g}" in shown
        assert f"{wide.min():.4g} to {wide.max():.4g}" in shown
        await pilot.press("u", "down", "down")
        assert here(app) == "layers/1/mlp/up"
        await pilot.press("s")
        await settled(pilot, app)
        one = np.concatenate(
            [arrays["layers.1.mlp.up.weight"].ravel(), np.zeros(16)]
        ).astype("float64")
        assert f"{one.mean():.4g}, std {one.std():.4g}" in pane(app)

    browse([path], script)


def test_many_bytes_are_read_after_a_second_key_alone(small, monkeypatch):
    monkeypatch.setattr("explorer.browsing.app._ASKED_ABOVE", 1000)

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press("s")
        await settled(pilot, app)
        assert "1.3 kB are to be read: s" in pane(app)
        assert not app.said
        await pilot.press("s")
        await settled(pilot, app)
        assert "320, all finite" in pane(app)

    browse([small[0]], script)


def test_a_file_that_is_gone_is_said_in_the_pane(small):
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        Path(small[0]).unlink()
        await pilot.press("s")
        await settled(pilot, app)
        assert "cannot be read: No such file" in pane(app)

    browse([small[0]], script)


def test_an_architecture_has_no_values_and_the_keys_are_explained():
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press("question_mark")
        assert any("search names" in line for line in screen(app))
        await pilot.press("escape")
        assert not any("search names" in line for line in screen(app))
        await pilot.press("s")
        await settled(pilot, app)
        assert "none: this is an architecture" in pane(app)

    browse(["gpt2"], script)


def test_two_targets_are_side_by_side():
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        shown = screen(app)
        assert (
            shown[1]
            .strip()
            .startswith("A has 124,439,808 parameters (497.8 MB), B has 354,823,168")
        )
        row = next(line for line in shown if "layers_[0-11] -> [0-23]" in line)
        assert "302,309,376   +217,254,912    +869.0 MB" in row
        keys = {each.binding.key for each in app.screen.active_bindings.values()}
        assert "d" in keys
        assert "u" not in keys
        await pilot.press("d")
        await search(pilot, app, "query")
        assert here(app).endswith("attention/query")
        await pilot.press("o", "r", "s")
        await settled(pilot, app)

    browse(["gpt2", "gpt2-medium"], script, (140, 40))


def test_values_of_two_targets(small, tmp_path: Path):
    path, arrays = small
    other = {name: array + 1 for name, array in arrays.items() if name != "embed.weight"}
    save_file(other, tmp_path / "other.safetensors")

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press("s")
        await settled(pilot, app)
        assert "none: it is not there" in pane(app)
        await pilot.press("down", "s")
        await settled(pilot, app)
        shown = pane(app)
        for side in (arrays, other):
            wide = np.concatenate([side[k].ravel().astype("float64") for k in other])
            assert f"{wide.mean():.4g}, std {wide.std():.4g}" in shown

    browse([path, str(tmp_path / "other.safetensors")], script, (140, 40))


def test_names_are_never_markup(tmp_path: Path):
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        shown = "\n".join(screen(app))
        for name in (
            "[bold red]x[/]",
            "[/]",
            "[@click=app.quit]q[/]",
            r"esc\x1b[31m",
            r"line\nend",
            r"\u202egnp",
            "<script>alert(1)</script>",
        ):
            assert name in shown, name
        await pilot.press("end", "s")
        await settled(pilot, app)
        assert "4, all finite" in pane(app)
        await search(pilot, app, "[bold")
        assert "1 tensor in 1 of 1 row" in status(app)

    browse([hostile_file(tmp_path)], script)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_quits(key: str):
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press(key)
        await pilot.pause()
        assert not app.is_running

    assert browse(["gpt2"], script).return_code == 0


def test_of_many_tensors_few_rows_are_made_for_the_screen(tmp_path: Path):
    async def script(pilot: Pilot, app: BrowserApp) -> None:
        assert len(app.session.rows) == 60
        await pilot.press("end", "home")
        assert app.session.outline.made < 100

    browse([unequal(tmp_path, 6_000)], script)


def test_a_tensor_without_elements(tmp_path: Path):
    save_file({"w": np.zeros((0, 2), "float32")}, tmp_path / "m.safetensors")

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await pilot.press("s")
        await settled(pilot, app)
        assert "0, all finite" in pane(app)

    browse([str(tmp_path / "m.safetensors")], script)
