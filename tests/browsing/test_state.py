"""Rows that are shown: opened, sorted, filtered, of two targets, and searched."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

import explorer as ex
from explorer.browsing.filtering import (
    TensorFilter,
    components_of,
    filtered,
    names_of,
    roles_of,
)
from explorer.browsing.outline import ItemPath, Outline
from explorer.browsing.search import find, next_hit, number_of_hits
from explorer.browsing.state import (
    ORDERS,
    RowView,
    children_of,
    first_view,
    opened_to,
    rows_of,
    split_at,
    toggled,
)
from explorer.inventory.own_names import component_word
from tests.browsing.layouts import inventories

MODELS = ["gpt2", "gpt-oss-20b"]


@cache
def outline_of(*names: str) -> Outline:
    return Outline([ex.explore(name) for name in names])


def all_open(outline: Outline, view: RowView | None = None) -> RowView:
    """Return a view in which every row is open."""
    view = view or RowView()
    while True:
        closed = [
            path
            for path in rows_of(outline, view)
            if outline.item(path).is_open_to and path not in view.opened
        ]
        if not closed:
            return view
        for path in closed:
            view = toggled(outline, view, path)


def ends(outline: Outline, view: RowView) -> list[ItemPath]:
    """Return the rows below which none is shown."""
    return [path for path in rows_of(outline, view) if path not in view.opened]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("most", [1, 8, 40])
def test_rows_that_are_not_open_add_up_to_all(name: str, most: int):
    outline = outline_of(name)
    view = first_view(outline, most)
    assert len(rows_of(outline, view)) <= max(most, len(outline.below(())))
    for state in (view, all_open(outline)):
        items = [outline.item(path) for path in ends(outline, state)]
        assert sum(item.parameters() for item in items) == ex.count_parameters(name)
        assert sum(item.nbytes() for item in items) == ex.count_bytes(name)
        assert sum(item.first.row.tensors for item in items) == ex.count_tensors(name)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_keeps_the_rows_and_sorts_neighbours(name: str, order):
    outline = outline_of(name)
    view = all_open(outline)
    sorted_view = RowView(view.opened, order=order)
    assert Counter(rows_of(outline, sorted_view)) == Counter(rows_of(outline, view))
    for path in [(), *view.opened]:
        items = [outline.item(each) for each in children_of(outline, sorted_view, path)]
        if order == "name":
            assert [i.name for i in items] == sorted(i.name for i in items)
        elif order == "parameters":
            numbers = [i.parameters() for i in items]
            assert numbers == sorted(numbers, reverse=True)
        elif order == "bytes":
            numbers = [i.nbytes() for i in items]
            assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize("word", ["role", "component"])
@pytest.mark.parametrize("name", [*MODELS, *inventories()])
def test_filters_part_the_tensors(name: str, word: str):
    """Each tensor has one word, by its record: the parts are all, and add up."""
    inventory = inventories()[name] if name in inventories() else ex.explore(name)
    names = names_of([inventory])

    def own(spec: ex.TensorSpec) -> str:
        word = component_word(spec.component, spec.role, spec.path)
        return word if spec.component != "other" or word in names else "unclassified"

    def job(spec: ex.TensorSpec) -> str:
        return spec.role if spec.collection == "params" else spec.collection

    expected = Counter(map(job if word == "role" else own, inventory.tensors))
    words = roles_of([inventory]) if word == "role" else components_of([inventory], names)
    assert set(words) == set(expected)
    parts = [filtered(inventory, TensorFilter(**{word: each})) for each in words]
    assert {each: len(part) for each, part in zip(words, parts, strict=True)} == expected
    assert sum(part.num_parameters for part in parts) == inventory.num_parameters
    assert sum(part.nbytes for part in parts) == inventory.nbytes
    kept = {spec.key for part in parts for spec in part.tensors}
    assert kept == {spec.key for spec in inventory.tensors}


@pytest.mark.parametrize("name", [*MODELS, *inventories(), "named"])
def test_the_filter_has_the_words_of_the_legend(name: str):
    """Its words, in order, and the parameters of each are those that the ledger has."""
    modules = ("conv1", "pooler", "gate_x", "species", "blue", "conv2", "red", "pixels")
    named = {word: {"kernel": np.ones((n + 2, 3))} for n, word in enumerate(modules)}
    found = {**inventories(), "named": ex.explore(named | {"mystery": np.ones(4)})}
    inventory = found[name] if name in found else ex.explore(name)
    names = names_of([inventory])
    legend = ex.ledger(inventory).components
    words = [*components_of([inventory], names)]
    shown = {
        word: filtered(inventory, TensorFilter(component=word), names).num_parameters
        for word in words
    }
    assert {word: number for word, number in shown.items() if number} == legend
    assert words[: len(legend)] == [*legend]
    if name == "named":
        assert {"pixels", "conv", "unclassified"} <= set(legend)
        assert len(legend) == 6  # five names, and what is left


def test_both_filters_hold_together():
    found = filtered(ex.explore("gpt2"), TensorFilter("bias", "mlp"))
    assert {(s.role, s.component) for s in found.tensors} == {("bias", "mlp")}
    assert rows_of(Outline([filtered(found, TensorFilter("scale"))]), RowView()) == []


def test_a_row_is_opened_and_closed():
    outline = outline_of("gpt2")
    view = toggled(outline, RowView(), (2,))
    assert [p for p in rows_of(outline, view) if len(p) == 2] == [
        (2, 0),
        (2, 1),
        (2, 2),
        (2, 3),
    ]
    assert toggled(outline, view, (2,)) == RowView()
    assert toggled(outline, view, (0,)) == view  # one tensor, nothing below
    assert rows_of(outline, opened_to(RowView(), (2, 1, 0)))[4:6] == [(2, 1), (2, 1, 0)]


def test_a_folded_row_is_split_and_folded_again():
    outline = outline_of("gpt2")
    view = all_open(outline)
    split = split_at(outline, view, (2,))
    names = [
        outline.item(p).name for p in rows_of(outline, split) if p[:1] == (2,) and p[1:]
    ]
    assert names == [f"layers_{n}" for n in range(12)]
    again = split_at(outline, split, (2,))
    inside = [p for p in rows_of(outline, again) if p[:1] == (2,) and p[1:]]
    assert inside == [*outline.below((2,))]
    assert split_at(outline, view, (3,)) == view  # one tensor
    one = all_open(outline, split)
    inside = [p for p in rows_of(outline, one) if p[:2] == (2, -4)]
    assert (
        sum(outline.item(p).parameters() for p in inside if p not in one.opened)
        == 7_087_872
    )


TEXTS = [
    "query",
    "QUERY",
    "layers_3",
    "layers_3/",
    ".bias",
    "e",
    "no such name",
    "layers_1/mlp",
    "experts",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("is_split", [False, True])
def test_a_search_finds_what_in_finds(name: str, text: str, is_split: bool):
    outline = outline_of(name)
    view = split_at(outline, RowView(), (2,)) if is_split and name == "gpt2" else RowView()
    wanted = text.lower().replace(".", "/")
    names = ["/".join(spec.path).lower() for spec in ex.explore(name).tensors]
    expected = {i for i, each in enumerate(names) if text and wanted in each}
    found = find(outline, view, text)
    assert found.tensors == number_of_hits(outline, text) == len(expected)
    inside = [set(outline.tensors(path)) for path in found.paths]
    assert expected <= set().union(*inside)
    assert all(part & expected for part in inside)
    shown = rows_of(outline, all_open(outline, view))
    assert list(found.paths) == [path for path in shown if path in set(found.paths)]


def test_a_search_goes_to_the_first_row_that_has_the_text():
    outline = outline_of("gpt2")
    found = find(outline, RowView(), "attention")
    assert [outline.item(path).name for path in found.paths] == [
        "attention_norm",
        "attention",
    ]


@pytest.mark.parametrize("order", ORDERS)
def test_the_next_hit_goes_round(order):
    outline = outline_of("gpt2")
    view = RowView(order=order)
    hits = find(outline, view, "norm")
    assert len(hits.paths) == 3
    visited: list[ItemPath] = []
    for _ in range(4):
        path = next_hit(outline, view, hits, visited[-1] if visited else (), 1)
        assert path is not None
        visited.append(path)
    assert visited == [*hits.paths, hits.paths[0]]
    assert next_hit(outline, view, hits, hits.paths[0], -1) == hits.paths[2]
    assert next_hit(outline, view, hits, hits.paths[2], -1) == hits.paths[1]
    assert next_hit(outline, view, find(outline, view, "absent"), (), 1) is None


def test_two_targets_have_what_compare_has():
    outline = outline_of("gpt2", "gpt2-medium")
    rows = {outline.item(path).name: outline.item(path) for path in outline.below(())}
    assert [*rows] == ["embed", "position_embed", "layers_[0-11] -> [0-23]", "final_norm"]
    comparison = ex.compare("gpt2", "gpt2-medium")
    assert not comparison.identical
    for side, name in enumerate(("gpt2", "gpt2-medium")):
        assert sum(i.parameters(side) for i in rows.values()) == ex.count_parameters(name)
        assert sum(i.nbytes(side) for i in rows.values()) == ex.count_bytes(name)


def test_only_what_differs_is_left():
    tree = {
        "same": {"kernel": np.ones((2, 3)), "bias": np.ones(3)},
        "shape": {"kernel": np.ones((2, 3))},
    }
    other = tree | {"shape": {"kernel": np.ones((3, 2))}, "more": {"kernel": np.ones(1)}}
    outline = Outline([ex.explore(tree), ex.explore(other)])
    view = RowView(changes_only=True)
    names = [outline.item(path).name for path in rows_of(outline, view)]
    assert names == ["shape", "more"]
    equal = Outline([ex.explore(tree), ex.explore(tree)])
    assert rows_of(equal, view) == []
    assert not equal.root.differs


def test_a_search_in_two_targets_finds_the_tensors_of_both():
    outline = outline_of("gpt2", "gpt2-medium")
    found = find(outline, RowView(), "query")
    assert found.tensors == 2 * 12 + 2 * 24
    assert [outline.item(path).name for path in found.paths] == ["query"]
