"""Rows made one by one are those of `show`; every tensor is under exactly one of them."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import explorer as ex
from explorer.analyses.collapse import Row, collapse, compact
from explorer.browsing.branches import Branch, FoldedTree
from explorer.browsing.outline import ItemPath, Outline
from explorer.browsing.state import first_view, rows_of, toggled
from tests.browsing.layouts import catalogued, experts, hostile_file, inventories, unequal

FIGURES = ("tensors", "parameters", "biases", "elements", "nbytes", "device_nbytes")


def whole(tree: FoldedTree, branch: Branch) -> Row:
    """Return a row with all rows below it."""
    if branch.row.parts:
        return branch.row
    children = tuple(whole(tree, below) for below in tree.below(branch))
    return msgspec.structs.replace(branch.row, children=children)


def is_as_shown(inventory: ex.Inventory) -> None:
    tree = FoldedTree(inventory)
    assert whole(tree, tree.root) == compact(collapse(inventory))


@pytest.mark.parametrize("name", [*inventories()])
def test_rows_are_those_of_show(name: str):
    is_as_shown(inventories()[name])


@pytest.mark.parametrize("name", [*catalogued()])
def test_rows_of_models_are_those_of_show(name: str):
    is_as_shown(ex.explore(name))


def test_rows_of_hostile_names_are_those_of_show(tmp_path: Path):
    is_as_shown(ex.explore(hostile_file(tmp_path)))


LEAVES = st.sampled_from(["kernel", "bias", "scale", "mean"])
TREES = st.recursive(
    st.builds(lambda n: np.ones(n, "float32"), st.integers(1, 3)),
    lambda below: st.dictionaries(
        st.one_of(LEAVES, st.builds("layer_{}".format, st.integers(0, 3))),
        below,
        min_size=1,
        max_size=4,
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_rows_of_any_tree_are_those_of_show_and_hold_each_tensor_once(tree):
    inventory = ex.explore(tree)
    is_as_shown(inventory)
    holds_each_tensor_once(Outline([inventory]))


def holds_each_tensor_once(outline: Outline) -> None:
    """Check that what is below a row, and its copies, are what it stands for."""
    columns = outline.inventories[0].columns
    todo: list[ItemPath] = [()]
    assert outline.tensors(()) == list(range(len(columns)))
    while todo:
        path = todo.pop()
        branch, here = outline.item(path).first, outline.tensors(path)
        assert len(here) == branch.row.tensors
        assert (
            sum(columns.kind(i).nbytes for i in here if i not in columns.aliases)
            == branch.row.nbytes
        )
        for below in (outline.below(path), outline.copies(path)):
            if below:
                parts = [outline.tensors(each) for each in below]
                assert sorted(i for part in parts for i in part) == here
                rows = [outline.item(each).first.row for each in below]
                for figure in FIGURES:
                    assert sum(getattr(row, figure) for row in rows) == getattr(
                        branch.row, figure
                    )
        todo += [*outline.below(path), *outline.copies(path)]


@pytest.mark.parametrize("name", [*inventories()])
def test_every_tensor_is_under_exactly_one_row(name: str):
    holds_each_tensor_once(Outline([inventories()[name]]))


@pytest.mark.parametrize("name", ["gpt2", "gpt-oss-20b"])
def test_every_tensor_of_a_model_is_under_exactly_one_row(name: str):
    outline = Outline([ex.explore(name)])
    holds_each_tensor_once(outline)
    assert outline.root.parameters() == ex.count_parameters(name)


def test_every_tensor_of_hostile_names_is_under_exactly_one_row(tmp_path: Path):
    holds_each_tensor_once(Outline([ex.explore(hostile_file(tmp_path))]))


def test_copies_have_their_own_names_and_formats():
    outline = Outline([inventories()["mixed"]])
    (path,) = outline.below(())
    copies = [outline.item(each).first.row for each in outline.copies(path)]
    assert [row.name for row in copies] == [f"layers_{n}" for n in range(5)]
    assert [row.parts[0].dtypes for row in copies] == [("float64",), ("float16",)] * 2 + [
        ("float64",)
    ]


@pytest.mark.parametrize(("write", "most"), [(experts, 30), (unequal, 90)])
def test_of_100_000_tensors_few_rows_are_made(tmp_path: Path, write, most: int):
    """Rows are made where they are shown: a screen has forty, and what is open has its own."""
    outline = Outline([ex.explore(write(tmp_path, 100_000))])
    view = first_view(outline)
    rows = rows_of(outline, view)
    for path in rows[:40]:
        outline.item(path)
    assert outline.trees[0].inventory.num_tensors == 100_000
    assert outline.made <= 41
    closed = [p for p in rows[-40:] if outline.item(p).is_open_to and p not in view.opened]
    assert bool(closed) == (write is unequal)
    if closed:
        opened = toggled(outline, view, closed[-1])
        assert len(rows_of(outline, opened)) == len(rows) + 100
    assert outline.made <= most
    assert outline.trees[0].made <= 2 * most
