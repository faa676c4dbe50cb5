"""Inference in the report: every point of its sliders is what a plan says at those settings."""

from pathlib import Path
from typing import Any

import pytest

import explorer as ex
from tests.views.report.chromium import Page, opened
from tests.views.report.reading import read_report
from tests.views.report.test_browser import browser_test, set_slider

NAMES = ("llama-3.1-8b", "deepseek-v3", "mixtral-8x7b", "gemma-2-27b", "bert-base-uncased")
NAMED = ("stored", "tensor", "data", "expert", "context", "batch")
POINTS = (
    (0, 0, 0, 0, 0, 0),
    (1, 0, 1, 0, 5, 1),
    (2, 1, 0, 0, 3, 3),
    (3, 3, 2, 1, 1, 6),
    (4, 2, 6, 0, 0, 2),
    (5, 0, 0, 2, 2, 0),
    (6, 1, 3, 2, 4, 5),
    (7, 3, 0, 0, 6, 0),
    (8, 2, 1, 1, 7, 4),
    (9, 1, 0, 0, 5, 0),
    (10, 0, 4, 3, 1, 2),
)


def point_of(grid: dict[str, Any], point: tuple[int, ...]) -> tuple[int, ...]:
    """Return a point within the sliders that a model has."""
    sizes = ("stored", "tensor", "data", "expert", "contexts", "batches")
    return tuple(place % len(grid[name]) for place, name in zip(point, sizes, strict=True))


def mesh_at(grid: dict[str, Any], point: tuple[int, ...]) -> dict[str, int]:
    """Return the mesh of a point, as a plan takes it."""
    places = dict(zip(NAMED, point, strict=True))
    mesh = {axis: grid[axis][places[axis]] for axis in ("data", "tensor", "expert")}
    return {axis: size for axis, size in mesh.items() if size > 1}


def settings_of(grid: dict[str, Any], point: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings of a plan at a point of the grid."""
    stored, _, _, _, context, batch = point
    words, mesh = grid["stored"][stored]["words"], mesh_at(grid, point)
    found: dict[str, Any] = {
        word.removeprefix("--"): value
        for word, value in zip(words[::2], words[1::2], strict=True)
    }
    if mesh:
        found["mesh"] = mesh
    if grid["contexts"]:
        found["context"] = grid["contexts"][context]
    return found | {"batch": mesh.get("data", 1) * grid["batches"][batch]}


@pytest.mark.parametrize("name", NAMES)
def test_the_grid_is_what_a_plan_says_of_each_device(name: str):
    grid = read_report(ex.report(name)).data["models"][0]["grid"]
    assert len(grid["stored"]) > 8
    for each in POINTS:
        stored, tensor, data, expert, context, batch = point = point_of(grid, each)
        *before, reserve = grid["stored"][stored]["fixed"][expert][tensor]
        if data and not tensor and not expert:
            reserve = grid["several"]
        table = grid["tables"][grid["stored"][stored]["table"]][tensor]
        places = [*before, *table[context][batch], reserve]
        terms = [grid["terms"][place] for place in places]
        plan = ex.plan(name, **settings_of(grid, point))
        found = [(grid["names"][term[0]].replace(" ", "_"), term[1]) for term in terms]
        assert found == [(term.name, term.on_device) for term in plan.terms]
        if not plan.mesh:
            ranges = [(term[2], term[3]) for term in terms]
            assert ranges == [(term.low, term.high) for term in plan.terms]
        assert all(term[2] <= term[1] <= term[3] for term in terms)


def test_axes_that_divide_nothing_are_not_offered(tmp_path: Path):
    grids = {
        name: read_report(ex.report(name)).data["models"][0]["grid"]
        for name in ("gpt2", "mixtral-8x7b")
    }
    assert grids["gpt2"]["tensor"] == [1, 2, 4, 8]
    assert grids["gpt2"]["expert"] == [1]
    assert grids["mixtral-8x7b"]["expert"] == [1, 2, 8]
    assert 'class="expert"' not in ex.report("gpt2")
    import numpy as np

    np.savez(tmp_path / "a.npz", kernel=np.ones((256, 128), "float32"))
    page = ex.report(tmp_path / "a.npz")
    grid = read_report(page).data["models"][0]["grid"]
    assert (grid["tensor"], grid["data"], grid["expert"]) == ([1], [1], [1])
    assert 'class="tensor"' not in page


def text_of(page: Page, selector: str, part: str = "e") -> list[str]:
    """Return the texts of elements of the section of inference."""
    where = f".memory:not(.training) {selector}"
    return page.evaluate(
        f"[...document.querySelectorAll({where!r})].map(e => {part}.textContent)"
    )


@browser_test
@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-3.1-8b", "mixtral-8x7b"])
def test_the_sliders_show_what_a_plan_says(tmp_path: Path, name: str):
    ex.report(name, path=tmp_path / "model.html")
    with opened(tmp_path / "model.html") as page:
        grid = page.evaluate("data.models[0].grid")
        for each in POINTS:
            point = point_of(grid, each)
            for slider, place in zip(NAMED, point, strict=True):
                if slider != "expert" or len(grid["expert"]) > 1:
                    set_slider(page, f"memory:not(.training) .{slider}", place)
            settings = settings_of(grid, point)
            plan = ex.plan(name, **settings)
            rows = text_of(page, ".terms tbody tr", "e.children[2]")
            held = [term.on_device for term in plan.terms]
            assert rows == [f"{number:,}" for number in (*held, plan.per_device_bytes)]
            fits = {each.name: "✓" if each.fits else "✗" for each in plan.devices}
            marks = text_of(page, ".fits span")
            assert sorted(marks) == sorted(f"{mark} {key}" for key, mark in fits.items())
            words = [*grid["stored"][point[0]]["words"], "--context", settings["context"]]
            if settings["batch"] > 1:
                words += ["--batch", settings["batch"]]
            if mesh := settings.get("mesh"):
                words += [
                    "--mesh",
                    ",".join(f"{axis}={size}" for axis, size in mesh.items()),
                ]
            command = " ".join(map(str, ["explorer plan", name, *words]))
            assert text_of(page, ".command") == [command]
        assert page.complaints == []
        assert page.requests == [(tmp_path / "model.html").as_uri()]


@browser_test
@pytest.mark.slow
def test_a_note_on_a_mesh_says_which_part_of_it_a_device_holds(tmp_path: Path):
    ex.report("llama-3.1-8b", path=tmp_path / "model.html")
    with opened(tmp_path / "model.html") as page:
        set_slider(page, "tensor", 2)
        notes = text_of(page, ".terms tbody tr", "e.children[4]")
        assert text_of(page, ".devices") == [
            "4 devices (tensor=4): the figures are those of each"
        ]
        assert notes[0].startswith("a share of: ")  # of norms each device holds all
        assert notes[1].startswith("1/4 of: 32 layers x 2 x 8 x 128 x ")
        assert notes[2].startswith("1 x 128,256 x 4 B")
        set_slider(page, "data", 1)
        assert text_of(page, ".batch + output") == ["1 for each part of data, 2 in all"]
        assert text_of(page, ".fits")[0].startswith("8 of these suffice: ✓ tpu-v5e")
