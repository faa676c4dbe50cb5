"""CSV and Markdown: no cell or name is taken for code or markup."""

import csv
import io

from explorer.document.csv import csv_of
from explorer.document.markdown import markdown_of
from explorer.document.records import Document, Notes, Paragraph
from explorer.views.exports import records_document


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
