"""Columns and records say the same, and an inventory shows itself whatever is imported."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from explorer.inventory.columns import Columns
from explorer.inventory.inventory import Inventory
from explorer.inventory.listing import Sharding, compact, firsts_of, renumbered, tally
from explorer.inventory.tensor import Kind, TensorSpec


def kind(size: int = 6, role: str = "kernel", dtype: str = "float32") -> Kind:
    return Kind((size,), dtype, size, 4 * size, role, "mlp", "params")  # pyright: ignore


SPECS = (
    TensorSpec("a.weight", kind()),
    TensorSpec("a.bias", kind(2, "bias")),
    TensorSpec("b.weight", kind(), alias=True),
    TensorSpec("c.weight", kind(), sharding="x, -", device_nbytes=12),
)


def test_columns_make_the_records_they_were_made_of():
    columns = Columns.of(SPECS)
    assert columns.specs() == SPECS
    assert tuple(columns.spec(index) for index in range(len(columns))) == SPECS
    assert columns.numbers == (0, 1, 0, 0)
    assert columns.aliases == {2}
    assert columns.shardings == {3: Sharding("x, -", 12)}


def test_totals_come_from_columns_alone():
    inventory = Inventory(Columns.of(SPECS))
    assert repr(inventory).endswith("4 tensors, 14 parameters, 12 weights, 2 biases)")
    assert (inventory.nbytes, inventory.device_nbytes) == (56, 24 + 8 + 12)
    assert "tensors" not in vars(inventory)
    assert inventory.tensors is inventory.tensors
    assert inventory["a/bias"] == inventory["a.bias"] == SPECS[1]


def test_equality_is_that_of_the_tensors():
    columns = Columns.of(SPECS)
    same = Columns(
        columns.keys, [*columns.kinds, kind(9)], (0, 1, 0, 0), {2}, columns.shardings
    )
    assert Inventory(columns) == Inventory(same)
    assert hash(columns) == hash(same)
    assert replace(Inventory(columns), remarks=("one",)) != Inventory(columns)
    for i, spec in enumerate(SPECS):
        changed = (*SPECS[:i], TensorSpec(spec.key, kind(dtype="float16")), *SPECS[i + 1 :])
        assert Columns.of(changed) != columns


def test_selection_keeps_columns():
    part = Inventory(Columns.of(SPECS)).select(role="bias")
    assert part.tensors == SPECS[1:2]
    assert part.totals.weights == 0


@pytest.mark.parametrize("shown", ["str(inventory)", "inventory._repr_html_()"])
def test_an_inventory_shows_itself_the_same_before_and_after_any_import(shown: str):
    script = (
        "import explorer.inventory.inventory as room, sys\n"
        "from explorer.inventory.columns import Columns\n"
        "from explorer.inventory.tensor import Kind, TensorSpec\n"
        "kind = Kind((2,), 'float32', 2, 8, 'bias', 'mlp', 'params')\n"
        "inventory = room.Inventory(Columns.of([TensorSpec('a.bias', kind)]))\n"
        "assert 'explorer.api' not in sys.modules\n"
        f"before = {shown}\n"
        "import explorer, explorer.api, explorer.cli.main\n"
        f"assert before == {shown}\n"
        "print(before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "bias" in done.stdout


@given(st.lists(st.integers(0, 300)), st.permutations(range(301)))
def test_numbers_that_fit_into_bytes_are_counted_and_renumbered_as_others(numbers, new):
    held = compact(numbers)
    assert isinstance(held, bytes) == (max(numbers, default=0) < 256)
    assert list(held) == numbers
    assert tally(held) == tally(numbers) == Counter(numbers)
    assert list(tally(held)) == list(dict.fromkeys(numbers))
    for table in (new, list(range(256)) + [0] * 45):
        expected = [table[number] for number in numbers]
        assert list(renumbered(held, table)) == list(renumbered(numbers, table)) == expected


def test_first_appearances_are_found_in_bytes_and_lists():
    rows = [0, 0, 1, 0, 2, 1]
    assert firsts_of(rows) == firsts_of(bytes(rows)) == [0, 2, 4]
    assert firsts_of([]) == firsts_of(b"") == []
