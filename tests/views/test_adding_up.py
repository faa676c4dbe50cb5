"""Every table of counts adds up, in numbers, in shares and in what is drawn, on every model."""

import re
from collections.abc import Callable

import pytest

import explorer as ex
from explorer.analyses.ledger import ledger_of
from explorer.analyses.summary import By, summarize
from explorer.architectures.catalog.entries import entries
from explorer.document.layout import table_lines
from explorer.document.records import Table
from explorer.inventory.inventory import Inventory
from explorer.inventory.own_names import component_word
from explorer.views.ledger import groups_table
from explorer.views.summary import summary_document
from explorer.views.tree import tensors_table, tree_table
from explorer.views.units import shares
from tests.zoo import TREES

TARGETS: dict[str, Callable[[], object]] = {
    **{each.names[0]: lambda name=each.names[0]: name for each in entries()},
    **TREES,
}
WIDTHS = (60, 80, 100, 160)
EIGHTHS = " ▏▎▍▌▋▊▉█"


@pytest.fixture(params=TARGETS)
def inventory(request: pytest.FixtureRequest) -> Inventory:
    return ex.explore(TARGETS[request.param]())


def tenths(share: str) -> tuple[int, int]:
    """Return the least and the most tenths of a percent that a share may stand for."""
    words = {"<0.1%": (0, 1), ">99.9%": (999, 1000)}
    number = words.get(share) or round(10 * float(share.rstrip("%")))
    return number if isinstance(number, tuple) else (number, number)


def add_up(found: list[str]) -> bool:
    """Return whether shares add up to 100 %; all of them are 0 where there is nothing."""
    least, most = (
        (sum(side) for side in zip(*map(tenths, found), strict=True)) if found else (0, 0)
    )
    return least <= 1000 <= most or (least, most) == (0, 0)


def drawn(line: str) -> int:
    """Return the eighths of a cell that the bar at the end of a line takes."""
    bar = re.search("[▏▎▍▌▋▊▉█]*$", line)
    return sum(EIGHTHS.index(c) for c in bar[0])  # type: ignore[index]


def test_roles_components_and_dtypes_add_up(inventory: Inventory):
    ledger = ledger_of(inventory)
    table = groups_table(ledger)
    for by, whole in (
        ("role", ledger.parameters),
        ("component", ledger.parameters),
        ("dtype", sum(unique * kind.size for kind, _, unique in inventory.kinds)),
    ):
        rows = [row for row in table.rows if row[0] == by]
        assert sum(row[2] for row in rows) == whole
        assert add_up([row[3] for row in rows])
        assert whole == 0 or tenths(rows[0][3])[1] > 0


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_of_a_whole_are_as_long_as_its_own(inventory: Inventory, width: int):
    table = groups_table(ledger_of(inventory))
    lines = table_lines(table, width)[1:]
    whole = {by: sum(r[2] for r in table.rows if r[0] == by) for by, *_ in table.rows}
    found = dict.fromkeys(whole, 0)
    for row, line in zip(table.rows, lines, strict=False):
        found[row[0]] += drawn(line)
    longest = {found[by] for by, number in whole.items() if number}
    assert len(longest) <= 1
    assert all(number % 8 == 0 and number >= 64 for number in longest)
    assert not any(found[by] for by, number in whole.items() if not number)


@pytest.mark.parametrize("by", ["role", "component", "module", "dtype", "collection"])
def test_groups_add_up_to_the_total(inventory: Inventory, by: By):
    summary = summarize(inventory, by=by)
    (table,) = summary_document(summary).blocks
    assert isinstance(table, Table)
    *rows, total = table.rows
    for at, column in enumerate(table.columns):
        if column.title in ("tensors", "parameters", "weights", "biases", "elements"):
            assert sum(row[at] for row in rows) == total[at]
        if column.title == "share":
            assert add_up([row[at] for row in rows])
    assert summary.total.parameters == inventory.num_parameters
    assert sum(group.nbytes for group in summary.groups) == inventory.nbytes


def test_every_grouping_by_component_has_the_same_numbers(inventory: Inventory):
    ledger = ledger_of(inventory)
    groups = {g.name: g.parameters for g in summarize(inventory, by="component").groups}
    assert {name: number for name, number in groups.items() if number} == ledger.components
    named = {
        component_word(tensor.component, tensor.role, tensor.path)
        for tensor in inventory
        if tensor.kind.is_parameter and tensor.size and not tensor.alias
    }
    assert "other" not in named | {*ledger.components}
    assert {*ledger.components} <= named | {"unclassified"}


def test_the_tree_adds_up(inventory: Inventory):
    for table in (tree_table(inventory, depth=1), tensors_table(inventory)):
        *rows, total = table.rows
        titles = [column.title for column in table.columns]
        for title in ("tensors", "parameters"):
            at = titles.index(title)
            assert sum(row[at] for row in rows) == total[at]


@pytest.mark.parametrize(
    "parts",
    [
        (1, 1, 1),
        (1, 1, 1, 1, 1, 1),
        (10**12, 1, 1),
        (999, 1),
        (0, 3),
        (5, 5, 5, 85),
        (1,) * 3000,
    ],
)
def test_tenths_of_shares_add_up(parts: tuple[int, ...]):
    found = shares(parts)
    assert add_up(found)
    for part, share in zip(parts, found, strict=True):
        assert all(abs(n - 1000 * part / sum(parts)) <= 1 for n in tenths(share))
        assert (share == "0%") == (part == 0)
