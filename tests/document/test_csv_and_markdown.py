"""CSV and Markdown: no cell or name is taken for code or markup."""

import csv
import io

import pytest

from explorer.document.csv import csv_of
from explorer.document.markdown import markdown_of
from explorer.document.records import Column, Document, Notes, Paragraph, Table, Terms
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


def cells_of(cells: list[str], align: str) -> list[str]:
    table = Table((Column("n", align),), [(cell,) for cell in cells])  # pyright: ignore
    return [row["n"] for row in csv.DictReader(io.StringIO(csv_of(Document("", (table,)))))]


def test_signed_numbers_are_numbers():
    cells = ["-1.09", "+12,865,792", "-4.1e-05", "+51.5 MB", "-1+cmd", "+1.5 MB=x", "-"]
    rows = cells_of(cells, "right")
    assert rows[:4] == ["-1.09", "12865792", "-4.1e-05", "+51.5 MB"]
    assert rows[4:] == ["'-1+cmd", "'+1.5 MB=x", "'-"]


def test_names_that_look_like_numbers_stay_names():
    assert cells_of(["+3", "-1.09", "+1,024"], "left") == ["'+3", "'-1.09", "'+1,024"]


def test_a_text_without_a_term_continues_the_item_above_it():
    terms = Terms((("fits", "one"), ("", "- another")), 4)
    assert markdown_of(Document("", (terms,))) == "- **fits** one\n  \\- another"


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


SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫−"


def begins_a_formula(cell: str) -> bool:
    return cell.lstrip(" \"'")[:1] in [*SIGNS] and not cell.lstrip(' "').startswith("'")


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", ""])
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("between", ["", " ", '"', ' "', "  "])
def test_nor_is_one_behind_a_separator_or_of_full_width(
    separator: str, sign: str, between: str
):
    """A program may open the file with any separator; with each, no cell is a formula."""
    name = f"norm{separator}{between}{sign}1+1|cmd" if separator else f"{between}{sign}1+1"
    text = csv_of(Document("", (Table((Column("name"), Column("n")), [(name, 1)]),)))
    for opened_with in ",;|\t":
        for line in text.splitlines():
            cells = line.split(opened_with)
            for cell in cells:  # whether quotes are respected or not
                if "1+1" in cell and (separator or opened_with):
                    assert not begins_a_formula(cell), (opened_with, line)
        for row in csv.reader(text.splitlines(), delimiter=opened_with):
            assert not any(map(begins_a_formula, row))


def test_names_that_are_not_formulas_are_unchanged():
    names = ["layers/0/mlp-norm", "a=b", "x@y", "1e-5", "a, b; c|d", "it's", "q - k"]
    rows = [(name, -1) for name in names]
    text = csv_of(Document("", (Table((Column("name"), Column("n")), rows),)))
    assert [row[0] for row in csv.reader(text.splitlines())][1:] == names


def test_what_indents_a_name_stays_in_markdown():
    table = Table((Column("name"), Column("size")), [("layers",), ("  kernel", 3)])
    lines = markdown_of(Document("", (table,))).splitlines()
    assert lines[2:] == ["| layers |", "| &emsp;kernel | 3 |"]
