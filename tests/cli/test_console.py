"""What every command shares: one result, printed in each form of --format."""

import csv
import json

import click
import msgspec
import pytest
from click.testing import CliRunner

from explorer.cli.console import echo_result, format_option
from explorer.document.records import Column, Document, Table

EXACT = 2**70 + 1


class Shelf(msgspec.Struct, frozen=True):
    name: str
    books: int


SHELVES = (Shelf("poems", 3), Shelf("a|b", EXACT))


@click.command()
@click.option("--total", is_flag=True)
@format_option
def toy(total: bool, form: str) -> None:
    """Print shelves."""

    def document() -> Document:
        columns = (Column("shelf"), Column("thousands", "right"))
        rows = [(shelf.name, f"{shelf.books / 1000:.1f}k") for shelf in SHELVES]
        return Document("the library", (Table(columns, rows),))

    value = (lambda: {"total": sum(shelf.books for shelf in SHELVES)}) if total else None
    echo_result(form, document=document, records=lambda: SHELVES, value=value)


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(toy, arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("arguments", [(), ("--format", "text")])
def test_text_is_the_document(arguments: tuple[str, ...]):
    lines = printed(*arguments).splitlines()
    assert lines[0] == "the library"
    assert any(line.split() == ["poems", "0.0k"] for line in lines)


def test_the_other_forms_have_the_exact_records():
    expected = [{"name": "poems", "books": 3}, {"name": "a|b", "books": EXACT}]
    assert json.loads(printed("--format", "json")) == expected
    rows = csv.DictReader(printed("--format", "csv").splitlines())
    assert [*rows] == [{k: str(v) for k, v in row.items()} for row in expected]
    lines = printed("--format", "md").splitlines()
    assert lines[0].split() == ["|", "name", "|", "books", "|"]
    assert lines[-1].replace(" ", "") == f"|a\\|b|{EXACT:,}|"


def test_json_may_hold_more_than_the_rows():
    assert json.loads(printed("--total", "--format", "json")) == {"total": EXACT + 3}
    assert printed("--total", "--format", "csv") == printed("--format", "csv")


def test_the_tables_of_the_text_in_other_forms():
    assert printed("--json") == printed("--format", "json")
    lines = printed("--md").splitlines()
    assert lines[0] == "**the library**"
    assert lines[2:5] == ["| shelf | thousands |", "| --- | ---: |", "| poems | 0.0k |"]
    rows = [*csv.reader(printed("--csv").splitlines())]
    assert rows[:2] == [["shelf", "thousands"], ["poems", "0.0k"]]


def test_without_a_table_csv_has_the_records():
    @click.command()
    @format_option
    def said(form: str) -> None:
        echo_result(form, document=Document, records=lambda: SHELVES)

    found = CliRunner().invoke(said, ["--csv"]).output.splitlines()
    assert found[:2] == ["name,books", "poems,3"]
