"""Exports: exact integers, cells that no program takes for code."""

import csv
import io
import json

from explorer.document.csv import csv_of
from explorer.document.markdown import markdown_of
from explorer.document.records import Document, Notes, Paragraph
from explorer.views.exports import json_text, records_document


def test_integers_beyond_64_bits_are_exact():
    assert json.loads(json_text({"parameters": 5 * 2**62}))["parameters"] == 5 * 2**62
    assert csv_of(records_document([{"parameters": 5 * 2**62}])).endswith(str(5 * 2**62))


def test_a_cell_is_not_a_formula():
    document = records_document(
        [{"name": "=HYPERLINK(1)", "count": -3}, {"name": 'a,"b"\n', "count": 4}]
    )
    rows = list(csv.DictReader(io.StringIO(csv_of(document))))
    assert rows == [
        {"name": "'=HYPERLINK(1)", "count": "-3"},
        {"name": 'a,"b"\\n', "count": "4"},
    ]


def test_markdown_names_are_literal():
    document = records_document([{"name": "a|b <i>*c*</i> `d` &lt; $e$", "count": 12345}])
    assert markdown_of(document).splitlines() == [
        "| name | count |",
        "| --- | ---: |",
        r"| a\|b \<i\>\*c\*\</i\> \`d\` \&lt; \$e\$ | 12,345 |",
    ]


def test_markdown_text_begins_no_list_nor_heading():
    texts = ("1. x", "- x", "# x", "    x", "===", "12) x")
    document = Document("# x", (*map(Paragraph, texts), Notes(texts)))
    title, *paragraphs, notes = markdown_of(document).split("\n\n")
    expected = [r"1\. x", r"\- x", r"\# x", "x", r"\===", r"12\) x"]
    assert title == r"**\# x**"
    assert paragraphs == expected
    assert notes.splitlines() == [f"- {text}" for text in expected]


def test_nothing_is_an_empty_table():
    assert csv_of(records_document([])) == markdown_of(records_document([])) == ""


def test_half_a_surrogate_pair_is_escaped():
    """Python keys may hold what UTF-8 cannot; JSON can spell it."""
    record = {"path": "a\ud800", "count": 5 * 2**62}
    assert json.loads(json_text(record)) == record
    document = records_document([record])
    assert "\ud800" not in csv_of(document) + markdown_of(document)
