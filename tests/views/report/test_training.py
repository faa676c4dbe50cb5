"""Training in the report: every point of its sliders is what a plan says at those settings."""

from pathlib import Path
from typing import Any

import pytest

import explorer as ex
from tests.views.report.chromium import opened
from tests.views.report.reading import read_report
from tests.views.report.test_browser import browser_test

NAMES = ("llama-3.1-8b", "deepseek-v3", "bert-base-uncased", "gpt2")
# precision, optimizer, remat, devices, context, batch
POINTS = (
    (0, 0, 0, 0, 0, 0),
    (1, 2, 1, 3, 1, 2),
    (2, 1, 0, 6, 0, 6),
    (3, 3, 1, 1, 1, 1),
    (0, 4, 1, 4, 0, 3),
)


def settings_of(grid: dict[str, Any], point: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings of a plan at a point of the grid."""
    precision, optimizer, remat, devices, context, batch = point
    words = grid["precisions"][precision]["words"]
    found: dict[str, Any] = {
        word.removeprefix("--").replace("-", "_"): value
        for word, value in zip(words[::2], words[1::2], strict=True)
    }
    number = grid["devices"][devices]
    if number > 1:
        found["mesh"] = {"fsdp": number}
    return found | {
        "train": True,
        "optimizer": grid["optimizers"][optimizer],
        "remat": grid["remats"][remat],
        "context": grid["contexts"][context],
        "batch": number * grid["batches"][batch],
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_grid_is_what_a_plan_says_of_each_device(name: str):
    grid = read_report(ex.report(name)).data["models"][0]["training"]
    for point in POINTS:
        precision, optimizer, remat, devices, context, batch = point
        context %= len(grid["contexts"])
        at = (precision, optimizer, remat, devices, context, batch)
        *before, reserve = grid["fixed"][precision][optimizer][devices]
        table = grid["tables"][grid["precisions"][precision]["tables"][remat]]
        terms = [*before, *table[context][batch], reserve]
        plan = ex.plan(name, **settings_of(grid, at))
        found = [(grid["names"][term[0]].replace(" ", "_"), term[1]) for term in terms]
        assert found == [(term.name, term.on_device) for term in plan.terms]
        if devices == 0:
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
    assert (grid["contexts"], grid["tables"]) == ([], [[[[]]]])
    assert "nothing says what the layers of this target are" in page


@browser_test
@pytest.mark.slow
def test_the_sliders_show_what_a_plan_says(tmp_path: Path):
    ex.report("llama-3.1-8b", path=tmp_path / "llama.html")
    names = ("precision", "optimizer", "remat", "devices", "context", "batch")
    with opened(tmp_path / "llama.html") as page:
        grid = page.evaluate("data.models[0].training")
        for point in POINTS:
            for name, place in zip(names, point, strict=True):
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
            if point[3] == 0:
                fits = {each.name: "✓" if each.fits else "✗" for each in plan.devices}
                assert sorted(marks) == sorted(f"{m} {name}" for name, m in fits.items())
        command = page.evaluate("document.querySelector('.training .command').textContent")
        assert command == (
            f"explorer plan llama-3.1-8b --train --optimizer {grid['optimizers'][4]} --remat full"
            " --context 512 --batch 128 --mesh fsdp=16"
        )
        assert page.complaints == []
        assert page.requests == [(tmp_path / "llama.html").as_uri()]
