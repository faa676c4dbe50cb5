"""Terminals of any width: figures and keys are whole, and columns without room are counted."""

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

import explorer as ex
from explorer.browsing.app import BrowserApp
from explorer.browsing.cells import header_pieces
from tests.browsing.screens import browse, lines_of, settled


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
@pytest.mark.parametrize("targets", [["gpt2"], ["gpt2", "gpt2-medium"]])
def test_no_width_cuts_figures_or_the_keys_that_help(width: int, targets: list[str]):
    counts = [f"{ex.ledger(name).parameters:,}" for name in targets]
    wanted = ("shape", "parameters", "share", "bytes")
    if len(targets) == 2:
        wanted = ("parameters A", "parameters B", "B - A", "bytes B - A")
        counts.append("+230,383,360")

    async def script(pilot: Pilot, app: BrowserApp) -> None:
        await settled(pilot, app)
        lines = lines_of(app.export_screenshot())
        head = lines[: next(n for n, line in enumerate(lines) if "name" in line.split())]
        said = " ".join(" ".join(head).split())
        assert all(count in said for count in counts)
        if len(targets) == 1:
            assert said.count("weights") == 1
            assert "+ 102,144 biases" in said
        assert "? Help" in lines[-1]
        assert "q Quit" in lines[-1]
        header = str(app.query_one("#header", Static).content)
        shown = [title for title in wanted if f"  {title} " in f"{header} "]
        hidden = f"({len(wanted) - len(shown)} hidden)"
        assert (hidden in header) == (len(shown) < len(wanted))
        assert "parameters" in header or "B - A" in header

    browse(targets, script, (width, 30))


def test_more_columns_fit_in_a_wider_terminal_of_one_layout():
    pair = browse(["gpt2", "gpt2-medium"], _nothing, (80, 30)).session.outline
    numbers = [len(header_pieces(pair, width)) for width in range(30, 130)]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 5


async def _nothing(pilot: Pilot, app: BrowserApp) -> None:
    await settled(pilot, app)
