"""Training in the report: every point of its sliders is what a plan says at those settings."""

from pathlib import Path
from typing import Any

import pytest

import explorer as ex
from tests.views.report.chromium import opened
from tests.views.report.reading import read_report
from tests.views.report.test_browser import browser_test

NAMES = ("llama-3.1-8b", "deepseek-v3", "bert-base-uncased", "gpt2")
NAMED = ("precision", "optimizer", "remat", "fsdp", "tensor", "data", "context", "batch")
POINTS = (
    (0, 0, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 1, 1, 0),
    (0, 1, 1, 0, 2, 0, 1, 1),
    (1, 2, 1, 3, 0, 0, 1, 2),
    (1, 2, 0, 2, 1, 2, 1, 2),
    (2, 1, 0, 6, 3, 0, 0, 6),
    (3, 3, 1, 1, 1, 6, 1, 1),
    (3, 0, 0, 0, 3, 3, 0, 0),
    (0, 4, 1, 4, 1, 1, 0, 3),
)


def settings_of(grid: dict[str, Any], point: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings of a plan at a point of the grid."""
    precision, optimizer, remat, fsdp, tensor, data, context, batch = point
    words = grid["precisions"][precision]["words"]
    found: dict[str, Any] = {
        word.removeprefix("--").replace("-", "_"): value
        for word, value in zip(words[::2], words[1::2], strict=True)
    }
    places = {"data": data, "fsdp": fsdp, "tensor": tensor}
    mesh = {axis: grid[axis][place] for axis, place in places.items()}
    if split := {axis: size for axis, size in mesh.items() if size > 1}:
        found["mesh"] = split
    return found | {
        "train": True,
        "optimizer": grid["optimizers"][optimizer],
        "remat": grid["remats"][remat],
        "context": grid["contexts"][context],
        "batch": mesh["data"] * mesh["fsdp"] * grid["batches"][batch],
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_grid_is_what_a_plan_says_of_each_device(name: str):
    grid = read_report(ex.report(name)).data["models"][0]["training"]
    for point in POINTS:
        precision, optimizer, remat, fsdp, tensor, data, context, batch = point
        context %= len(grid["contexts"])
        at = (precision, optimizer, remat, fsdp, tensor, data, context, batch)
        *before, reserve = grid["fixed"][precision][optimizer][fsdp][tensor]
        if data and not fsdp and not tensor:
            reserve = grid["several"]
        table = grid["tables"][grid["precisions"][precision]["tables"][remat]][tensor]
        places = [*before, *table[context][batch], reserve]
        terms = [grid["terms"][place] for place in places]
        plan = ex.plan(name, **settings_of(grid, at))
        found = [(grid["names"][term[0]].replace(" ", "_"), term[1]) for term in terms]
        assert found == [(term.name, term.on_device) for term in plan.terms]
        if "mesh" not in settings_of(grid, at):
            ranges = [(term[2], term[3]) for term in terms]
            assert ranges == [(term.low, term.high) for term in plan.terms]
        assert all(term[2] <= term[1] <= term[3] for term in terms)


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_where_a_plan_does(name: str):
    page = ex.report(name)
    grid, plan = read_report(page).data["models"][0]["training"], ex.plan(name, train=True)
    assert grid["contexts"][grid["first"]["context"]] == plan.workload.context
    assert f"{plan.total_bytes:,}" in page
    assert f"explorer plan {name} --train --context {plan.workload.context}" in page


def test_what_has_no_parameters_has_no_sliders_of_training():
    page = ex.report({"cache": {"position": 3}})
    assert read_report(page).data["models"][0]["training"] is None
    assert "What it needs to train" not in page


def test_without_an_architecture_the_state_alone_is_shown(tmp_path: Path):
    import numpy as np

    np.savez(tmp_path / "a.npz", kernel=np.ones((256, 128), "float32"))
    page = ex.report(tmp_path / "a.npz")
    grid = read_report(page).data["models"][0]["training"]
    assert (grid["contexts"], grid["tables"]) == ([], [[[[[]]]]])
    assert "nothing says what the layers of this target are" in page


@browser_test
@pytest.mark.slow
def test_the_sliders_show_what_a_plan_says(tmp_path: Path):
    ex.report("llama-3.1-8b", path=tmp_path / "llama.html")
    with opened(tmp_path / "llama.html") as page:
        grid = page.evaluate("data.models[0].training")
        for point in POINTS:
            for name, place in zip(NAMED, point, strict=True):
                page.evaluate(
                    f"(() => {{ const e = document.querySelector('.training .{name}'); e.value = {place};"
                    " e.dispatchEvent(new Event('input')); })()"
                )
            plan = ex.plan("llama-3.1-8b", **settings_of(grid, point))
            held = [term.on_device for term in plan.terms]
            rows = page.evaluate(
                "[...document.querySelectorAll('.training .terms tbody tr')].map(r => r.children[2].textContent)"
            )
            assert rows == [f"{number:,}" for number in (*held, sum(held))]
            marks = page.evaluate(
                "[...document.querySelectorAll('.training .fits span')].map(e => e.textContent)"
            )
            fits = {each.name: "✓" if each.fits else "✗" for each in plan.devices}
            assert sorted(marks) == sorted(f"{m} {name}" for name, m in fits.items())
        command = page.evaluate("document.querySelector('.training .command').textContent")
        assert command == (
            f"explorer plan llama-3.1-8b --train --optimizer {grid['optimizers'][4]} --remat full"
            " --context 512 --batch 256 --mesh data=2,fsdp=16,tensor=2"
        )
        assert page.complaints == []
        assert page.requests == [(tmp_path / "llama.html").as_uri()]
