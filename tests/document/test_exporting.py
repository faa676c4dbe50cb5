"""Every public record: a text that its view shows, a short repr, dicts, JSON, a data frame."""

import html
import json
import re
import sys
from types import ModuleType, SimpleNamespace

import jax
import numpy as np
import pytest

import explorer as ex
from explorer.document.exporting import Exportable
from explorer.document.frames import column_type
from explorer.errors import MissingPackageError

TREE = {"dense": {"kernel": np.eye(4, dtype="float32"), "bias": np.ones(4, "float32")}}
OTHER = {
    "dense": {"kernel": 2 * np.eye(4, dtype="float32"), "scale": np.ones(4, "float32")}
}
RECORDS = {
    "inventory": lambda: ex.explore(TREE),
    "ledger": lambda: ex.ledger(TREE),
    "summary": lambda: ex.summarize(TREE, by="role"),
    "comparison": lambda: ex.compare(TREE, OTHER),
    "plan": lambda: ex.plan("gpt2"),
    "sweep": lambda: ex.sweep("gpt2", {"batch": [1, 2]}),
    "roles": lambda: ex.report_roles("gpt2", length=8),
    "statistics": lambda: ex.describe(TREE),
    "check": lambda: ex.check_values(TREE),
    "difference": lambda: ex.diff(TREE, OTHER),
    "spectrum": lambda: ex.spectrum(TREE),
    "digests": lambda: ex.digest(TREE),
    "change": lambda: ex.plan_lora("gpt2", 4, "c_attn"),
    "explanation": lambda: ex.explain("gpt2", "bias"),
}


@pytest.fixture(params=RECORDS)
def record(request: pytest.FixtureRequest) -> Exportable:
    return RECORDS[request.param]()


def test_text_and_repr_are_for_people(record):
    text, short = str(record), repr(record)
    assert max(map(len, text.splitlines())) <= 100
    assert short.startswith(f"{type(record).__name__}(")
    assert len(short) < 130
    for field in record.__struct_fields__:
        assert f"{field}=" not in short
        assert f"{field}=" not in text


def test_a_notebook_shows_what_the_text_says(record):
    page = record._repr_html_()
    if type(record).__name__ == "Digests":
        assert page is None  # lines for files, which a notebook's repr counts
        return
    assert page.startswith('<div class="explorer-document">')
    plain = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))
    words = re.findall(r"[a-z]{5,}", str(record).partition("(hidden at")[0])
    assert words
    missing = set(words) - set(re.findall(r"[a-z]{5,}", plain))
    assert missing <= {"notes"}


def test_dict_and_json_are_the_same(record):
    assert json.loads(record.to_json()) == json.loads(json.dumps(record.to_dict()))


class _Frame:
    """Stands in for a data frame; `make conformance` has pandas itself."""

    def __init__(self, columns):
        self.columns = columns
        self.index = SimpleNamespace(name=None)


def test_rows_become_a_data_frame(record, monkeypatch):
    pandas = ModuleType("pandas")
    missing = object()
    vars(pandas).update(
        DataFrame=_Frame, NA=missing, Series=lambda values, dtype: (values, dtype)
    )
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    frame, rows = record.to_pandas(), record.to_rows()
    assert frame.index.name
    assert [*frame.columns] == [*rows[0]]
    for name, (values, dtype) in frame.columns.items():
        there = [row[name] for row in rows]
        assert [None if v is missing else v for v in values] == there
        assert dtype == column_type(there)
    assert all(list(row) == list(rows[0]) for row in rows)


def test_without_pandas_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="pip install pandas"):
        ex.ledger(TREE).to_pandas()


def test_large_integers_stay_exact():
    shapes = {"kernel": jax.ShapeDtypeStruct((2**40, 2**30), "float32")}
    assert ex.ledger(shapes).to_dict()["parameters"] == 2**70
