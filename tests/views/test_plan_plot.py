"""Plans as pictures: what is drawn equals the plan; files of others are left alone."""

from pathlib import Path

import explorer as ex
from explorer.views.plan_plot import plot_plans
from tests.cli.in_process import run


def test_what_is_drawn_is_the_plan():
    plan = ex.plan("gpt2", context=1024)
    figure = plot_plans(plan, lambda changed: ex.plan("gpt2", **changed))
    top, below = figure.axes
    widths = [bar.get_width() for bar in top.patches]
    assert [round(width * 1e9) for width in widths] == [term.bytes for term in plan.terms]
    for line, batch in zip(below.get_lines(), (1, 4, 16, 64), strict=False):
        contexts, sizes = line.get_data()
        assert round(sizes[0] * 1e9) == (
            ex.plan("gpt2", context=int(contexts[0]), batch=batch).per_device_bytes
        )


def test_the_roofline_is_the_bound_of_each_batch():
    settings = {"context": 8192, "device": "h100"}
    plan = ex.plan("llama-3.1-8b", **settings)
    figure = plot_plans(
        plan, lambda changed: ex.plan("llama-3.1-8b", **(settings | changed))
    )
    line = figure.axes[2].get_lines()[0]
    for batch, bound in zip(*line.get_data(), strict=True):
        alone = ex.plan("llama-3.1-8b", batch=int(batch), **settings)
        assert bound == alone.decode_tokens_per_second


def test_the_command_saves_it_and_replaces_its_own_plots_alone(tmp_path: Path):
    picture, thesis = tmp_path / "plan.png", tmp_path / "thesis.png"
    for _ in range(2):
        done = run("plan", "gpt2", "--plot", picture)
        assert (done.returncode, done.stderr) == (0, "")
        assert picture.read_bytes().startswith(b"\x89PNG")
    thesis.write_bytes(b"mine")
    done = run("plan", "gpt2", "--plot", thesis)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert thesis.read_bytes() == b"mine"
