"""Text keeps to its width, whatever is in it."""

from hypothesis import given
from hypothesis import strategies as st

from explorer.document.layout import table_lines
from explorer.document.records import Column, Document, Notes, Paragraph, Table, Terms
from explorer.document.text import text_of
from explorer.document.widths import clip, distinct, width_of

COLUMNS = (
    Column("name", least=24),
    Column("shape", rank=1),
    Column("count", "right"),
    Column("more", rank=2),
)


@given(
    st.lists(st.tuples(*[st.text(max_size=80)] * 4), min_size=1, max_size=6),
    st.integers(60, 250),
)
def test_no_line_passes_the_width(rows, width):
    for line in table_lines(Table(COLUMNS, rows, total=True), width):
        assert width_of(line) <= width


@given(st.text(max_size=200), st.integers(2, 100))
def test_clip_keeps_both_ends(text, width):
    short = clip(text, width)
    assert width_of(short) <= max(width, 0)
    if width_of(text) <= width:
        assert short == text


@given(st.text("ab \n\x1b\u202e", max_size=300), st.integers(60, 250))
def test_no_line_of_any_block_passes_the_width(text, width):
    blocks = (Paragraph(text), Terms((("roles", text),), 10, "done"), Notes((text,)))
    for line in text_of(Document(text, blocks), width).split("\n"):
        assert width_of(line) <= width
        assert line == line.rstrip()
        assert line.isprintable()


def test_without_a_width_nothing_is_broken():
    text = "layer/" * 1000
    document = Document(blocks=(Terms((("added", text),), 8, "1 added"),))
    assert text_of(document, None) == f"added     {text}\n1 added"


def test_a_long_cell_is_continued_once_below_itself():
    columns = (Column("figure"), Column("how it is known", least=24, lines=2))
    table = Table(columns, [("parameters", "because " * 20), ("bytes", "exact")])
    head, first, second, last = table_lines(table, 60)
    assert head == "figure      how it is known"
    assert first == "parameters  " + " ".join(["because"] * 6)
    assert second == " " * 12 + " ".join(["because"] * 5) + " …"
    assert last == "bytes       exact"


def test_bars_end_where_the_line_ends():
    table = Table((Column("loss", "right"),), [("2.0",), ("1.0",)], bars=(1.0, 0.5))
    assert table_lines(table, 16) == ["loss", " 2.0  " + "█" * 10, " 1.0  " + "█" * 5]
    assert table_lines(table, 12) == ["loss", " 2.0", " 1.0"]  # no room for bars


def test_columns_that_say_nothing_are_left_out_but_for_those_that_stay():
    table = Table(COLUMNS, [("", "", "", "x")]).without_empty_columns()
    assert [column.title for column in table.columns] == ["name", "count", "more"]


@given(
    st.lists(st.text("ab/_1 é漢", max_size=30), max_size=8),
    st.integers(0, 24),
    st.none() | st.integers(0, 30),
)
def test_names_that_are_cut_keep_to_the_width(texts, width, head):
    assert all(width_of(clip(text, width, head)) <= width for text in texts)
    short = distinct(texts, width)
    assert len(short) == len(texts)
    assert all(width_of(text) <= width for text in short)
    if width >= 6:  # room for a number after the mark of a cut
        assert len(set(short)) == len(set(texts))
