"""Plans over grids of settings: each cell is the plan of its settings."""

import csv
import json
from io import StringIO

import pytest

import explorer as ex
from explorer.errors import InputError
from tests.cli.in_process import printed, run


def test_every_cell_is_its_own_plan():
    axes = {"dtype": ["float32", "bf16"], "context": [512, 1024], "layers": [6, 12]}
    table = ex.sweep("gpt2", axes, batch=2)
    assert len(table.rows) == 8
    for row in table.rows:
        alone = ex.plan("gpt2", batch=2, **row.settings)
        assert row.total_bytes == alone.total_bytes == sum(row.terms.values())
        assert row.terms == {term.name: term.bytes for term in alone.terms}


def test_the_grid_that_is_printed_holds_all_values():
    lines = printed("plan", "gpt2", "--sweep", "context=512,1024", "--sweep", "batch=1,2,4")
    header, *rows = lines.strip().splitlines()[-3:]
    assert header.split() == ["context", "\\", "batch", "1", "2", "4"]
    assert [row.split()[0] for row in rows] == ["512", "1,024"]


def test_forms_agree():
    words = ("plan", "gpt2", "--sweep", "dtype=float32,float16", "--format")
    table = json.loads(printed(*words, "json"))
    rows = list(csv.DictReader(StringIO(printed(*words, "csv"))))
    assert [int(row["total_bytes"]) for row in rows] == [
        row["total_bytes"] for row in table["rows"]
    ]
    assert [row["dtype"] for row in rows] == ["float32", "float16"]


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("dypte=4", "sweep: no setting 'dypte'"),
        ("batch", "sweep: batch; expected a setting and values: batch=1,8"),
        ("batch=", "expected a setting and values"),
        ("batch=0", "batch: is 0; expected at least 1"),
        ("dtype=bf61", "did you mean bf16?"),
    ],
)
def test_a_wrong_axis_is_one_line(axis: str, message: str):
    done = run("plan", "gpt2", "--sweep", axis)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_grids_are_bounded():
    with pytest.raises(InputError, match="sweep: 1,000,000 combinations; expected"):
        ex.sweep("gpt2", {"batch": range(1, 1001), "context": range(1, 1001)})
    with pytest.raises(InputError, match="sweep: 0 combinations"):
        ex.sweep("gpt2", {})
    with pytest.raises(InputError, match="sweep: batch: 4; expected a list of values"):
        ex.sweep("gpt2", {"batch": 4})
