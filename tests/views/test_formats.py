"""Exports: exact integers, cells that no program takes for code."""

import csv
import io
import json

from explorer.views.formats import csv_table, json_text, markdown_table


def test_integers_beyond_64_bits_are_exact():
    assert json.loads(json_text({"parameters": 5 * 2**62}))["parameters"] == 5 * 2**62


def test_a_cell_is_no_formula():
    text = csv_table(
        [{"name": "=HYPERLINK(1)", "count": -3}, {"name": 'a,"b"\n', "count": 4}]
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows == [
        {"name": "'=HYPERLINK(1)", "count": "-3"},
        {"name": 'a,"b"\\n', "count": "4"},
    ]


def test_markdown_names_are_literal():
    table = markdown_table([{"name": "a|b <i>*c*</i> `d`", "count": 12345}])
    assert table.splitlines() == [
        "| name | count |",
        "| --- | ---: |",
        r"| a\|b \<i\>\*c\*\</i\> \`d\` | 12,345 |",
    ]


def test_nothing_is_an_empty_table():
    assert csv_table([]) == markdown_table([]) == ""


def test_half_a_surrogate_pair_is_escaped():
    """Python keys may hold what UTF-8 cannot; JSON can spell it."""
    record = {"path": "a\ud800", "count": 5 * 2**62}
    assert json.loads(json_text(record)) == record
    assert "\ud800" not in csv_table([record]) + markdown_table([record])
