"""Totals are a monoid, and every table of an inventory adds up to its totals."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import explorer as ex
from explorer.analyses.collapse import Row, collapse, compact, walk
from explorer.analyses.summary import summarize
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import Kind
from explorer.inventory.totals import ZERO, Totals, sum_totals
from tests import zoo

FIGURES = ("tensors", "parameters", "weights", "biases", "elements", "nbytes")
NUMBERS = st.integers(0, 2**70)
TOTALS = st.builds(Totals, *[NUMBERS] * 6)


@given(TOTALS, TOTALS, TOTALS)
def test_addition_is_a_commutative_monoid(a: Totals, b: Totals, c: Totals):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + ZERO == ZERO + a == a
    assert sum_totals([a, b, c]) == a + b + c
    assert sum_totals([]) == ZERO


@given(TOTALS, TOTALS)
def test_weights_and_biases_stay_the_parameters(a: Totals, b: Totals):
    assert (a + b).weights == a.weights + b.weights
    assert (a + b).weights + (a + b).biases == (a + b).parameters


@given(TOTALS, st.integers(0, 9))
def test_multiplication_is_repeated_addition(a: Totals, times: int):
    assert a * times == sum_totals([a] * times)


@pytest.mark.parametrize("role", ["kernel", "bias"])
@pytest.mark.parametrize("collection", ["params", "buffers"])
def test_totals_of_a_kind_are_linear_in_its_count(role: str, collection: str):
    kind = Kind((3,), "float32", 3, 12, role, "mlp", collection)  # pyright: ignore
    assert Totals.of(kind, 5, 4) == Totals.of(kind) * 4 + Totals(tensors=1)
    assert Totals.of(kind, 1, 0) == Totals(tensors=1)


def figures(record: Totals | Row | msgspec.Struct) -> tuple[int, ...]:
    return tuple(getattr(record, name) for name in FIGURES)


def added(records) -> tuple[int, ...]:
    rows = [figures(record) for record in records]
    return tuple(map(sum, zip(*rows, strict=True))) if rows else (0,) * len(FIGURES)


@pytest.mark.parametrize("entry", zoo.TREES)
def test_groups_rows_and_ledger_add_up(entry: str):
    check(ex.explore(zoo.TREES[entry]()))


def check(inventory: Inventory) -> None:
    total = figures(inventory.totals)
    for by in ("role", "component", "module", "dtype", "collection", ("module", "role")):
        summary = summarize(inventory, by)  # pyright: ignore
        assert figures(summary.total) == added(summary.groups) == total
    for fold in (False, True):
        root = collapse(inventory, fold=fold)
        leaves = [row for row, _ in walk(root) if row.shape is not None]
        assert figures(root) == added(leaves) == total
        assert figures(compact(root)) == added(compact(root).children) == total
        for row, _ in walk(root):
            if row.children:
                assert figures(row) == added(row.children)
        assert root.device_nbytes == inventory.totals.device_nbytes
    ledger = ex.ledger(inventory)
    assert sum(ledger.roles.values()) == sum(ledger.components.values()) == total[1]
    assert sum(ledger.dtypes.values()) == sum(ledger.collections.values()) == total[4]
    assert (ledger.tensors, ledger.parameters, ledger.weights, ledger.biases) == total[:4]
