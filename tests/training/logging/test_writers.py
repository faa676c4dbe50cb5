"""Files give back exactly the numbers written; nothing stored is lost; torn ends are survived."""

import errno
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.errors import FormatError, InputError
from explorer.training.logging.curves import StepRecord
from explorer.training.logging.history import History, read_jsonl
from explorer.training.logging.jsonl import JsonlWriter
from explorer.training.logging.lines import encode
from explorer.training.watch.watch import Watch
from tests.training.logging.test_history import ROWS, run_of, table_of

HEAD = b'{"explorer_history":1,"run":"","rows":[],"columns":[]}\n'


def same(a, b):
    """Check that two histories are equal bit by bit, NaN equal to NaN."""
    assert (a.rows, a.columns, a.run) == (b.rows, b.columns, b.run)
    assert len(a) == len(b)
    for one, two in zip(a.records, b.records, strict=True):
        assert (one.step, list(one.metrics)) == (two.step, list(two.metrics))
        np.testing.assert_array_equal(
            list(one.metrics.values()), list(two.metrics.values())
        )
        assert (one.watch is None) == (two.watch is None)
        if one.watch is not None:
            assert one.watch.dtype == two.watch.dtype == np.float32
            np.testing.assert_array_equal(one.watch, two.watch)
    return True


@settings(max_examples=60, deadline=None)
@given(
    metrics=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9).filter(lambda n: n not in ("bad", "watch")), st.floats()),
    watch=st.lists(st.floats(width=32), min_size=2, max_size=2),
    step=st.integers(0, 2**53),
)  # fmt: skip
def test_the_same_numbers_are_read_back(tmp_path_factory, metrics, watch, step):
    history = History(["a"], ["x", "y"], run='r"\n')
    history.append(step, metrics, np.array([watch], np.float32))
    history.append(step + 1, {})
    path = tmp_path_factory.mktemp("run") / "history.jsonl"
    history.to_jsonl(path)
    assert same(read_jsonl(path), history)


def test_lines_are_read_by_anything_that_reads_json(tmp_path):
    import json

    run_of(6).to_jsonl(tmp_path / "h.jsonl")
    head, *lines = map(json.loads, (tmp_path / "h.jsonl").read_text().splitlines())
    assert head == {"explorer_history": 1, "run": "", "rows": list(ROWS), "columns": list(Watch.COLUMNS)}  # fmt: skip
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[1] == {"step": 2, "metrics": {"loss": 2.0, "grad_norm": 3.0}}
    assert np.float32(lines[5]["watch"][0][0]) == table_of(6)[0, 0]
    assert lines[5]["watch"][0][8] is None


def test_only_new_records_are_appended(tmp_path):
    path = tmp_path / "h.jsonl"
    run_of(6).to_jsonl(path)
    before = path.read_bytes()
    run_of(6).to_jsonl(path)
    run_of(4).to_jsonl(path)
    assert path.read_bytes() == before
    run_of(9).to_jsonl(path)
    assert path.read_bytes().startswith(before)
    assert same(read_jsonl(path), run_of(9))


def test_a_run_that_went_back_is_read_as_it_continued(tmp_path):
    path = tmp_path / "h.jsonl"
    run_of(9).to_jsonl(path)
    before = path.read_bytes()
    history = run_of(5)
    history.append(6, {"loss": 0.5})
    history.to_jsonl(path)
    assert path.read_bytes().startswith(before)
    assert same(read_jsonl(path), history)


def test_a_writer_that_is_opened_again_appends(tmp_path):
    path = tmp_path / "h.jsonl"
    for start in (1, 4):
        with JsonlWriter(path, ROWS, Watch.COLUMNS) as writer:
            for record in run_of(6).records[start - 1 : start + 2]:
                writer.write(record)
    assert same(read_jsonl(path), run_of(6))


def test_a_torn_last_line_is_skipped_with_a_remark(tmp_path):
    path = tmp_path / "h.jsonl"
    history = run_of(3)
    history.append(4, {'l"é\\': -1.5e-7, "x": np.inf, "y": np.nan}, table_of(4))
    history.to_jsonl(path)
    complete = path.read_bytes()
    last = complete.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(last + 1, len(complete) - 1):
        path.write_bytes(complete[:end])
        found = read_jsonl(path)
        assert len(found) == 3
        assert found.remarks == (f"{path}: line 5 is torn and was skipped",)
    path.write_bytes(complete[:-1])  # all but the line's end
    assert same(read_jsonl(path), history)
    assert read_jsonl(path).remarks == ()


def test_a_run_continues_after_a_torn_line(tmp_path):
    path = tmp_path / "h.jsonl"
    run_of(4).to_jsonl(path)
    torn = path.read_bytes()[:-9]
    path.write_bytes(torn)
    run_of(6).to_jsonl(path)
    assert path.read_bytes().startswith(torn)
    found = read_jsonl(path)
    assert same(found, run_of(6))
    assert found.remarks == (f"{path}: line 5 is torn and was skipped",)
    run_of(6).to_jsonl(path)
    assert same(read_jsonl(path), run_of(6))


def test_a_full_disk_is_reported_and_survived(tmp_path, monkeypatch):
    path, write = tmp_path / "h.jsonl", os.write
    writer = JsonlWriter(path)
    writer.write(StepRecord(1, {"loss": 1.0}))
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    with pytest.raises(InputError, match=r"h.jsonl: cannot be written: the disk is full; check the permissions of its folder and the free space$"):  # fmt: skip
        writer.write(StepRecord(2, {"loss": 2.0}))

    def full(file, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        InputError, match=r"h.jsonl: cannot be written: No space left on device; "
    ):
        writer.write(StepRecord(2, {"loss": 2.0}))
    monkeypatch.setattr(os, "write", write)
    writer.write(StepRecord(2, {"loss": 3.0}))
    writer.close()
    assert read_jsonl(path).metric("loss").values.tolist() == [1.0, 3.0]
    assert read_jsonl(path).remarks == (f"{path}: line 3 is torn and was skipped",)


def test_each_record_is_one_write(tmp_path, monkeypatch):
    written, write = [], os.write
    monkeypatch.setattr(
        os, "write", lambda file, data: written.append(data) or write(file, data)
    )
    run_of(6).to_jsonl(tmp_path / "h.jsonl")
    assert len(written) == 7
    assert all(data.endswith(b"\n") and data.count(b"\n") == 1 for data in written)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"run": "b"}, "is the history of another run (run: a); expected run: b; write to another file"),
        ({"rows": ["x"]}, "is the history of another run (rows: ('w',)); expected rows: ('x',); write to another file"),
        ({"columns": ["norm"]}, "is the history of another run (columns: ('rms',)); expected columns: ('norm',); write to another file"),
    ],
)  # fmt: skip
def test_a_file_of_another_run_is_left_alone(tmp_path, settings, message):
    path = tmp_path / "h.jsonl"
    this = {"rows": ["w"], "columns": ["rms"], "run": "a"}
    History(**this).to_jsonl(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}") + "$"):
        History(**(this | settings)).to_jsonl(path)
    assert path.read_bytes() == before


NOT_A_HISTORY = 'is not the history of a run; expected a first line {"explorer_history":1,...}; choose another file'  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"My diary\n", NOT_A_HISTORY),
        (b"\x89PNG\r\n\x1a\n\x00\xff", NOT_A_HISTORY),
        (b'{"loss": 1}\n', NOT_A_HISTORY),
        (HEAD[:20], NOT_A_HISTORY),
        (HEAD.replace(b"1,", b"2,", 1), "is a history of version 2; expected version 1; read it with the explorer that wrote it"),
    ],
)  # fmt: skip
def test_other_files_are_neither_read_nor_written(tmp_path, content, message):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    for attempt in (read_jsonl, run_of(1).to_jsonl):
        with pytest.raises(FormatError, match=re.escape(f"notes.txt: {message}") + "$"):
            attempt(path)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_history(tmp_path):
    path = tmp_path / "h.jsonl"
    path.touch()
    run_of(2).to_jsonl(path)
    assert same(read_jsonl(path), run_of(2))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"step":"1","metrics":{}}', "line 2: is broken (Expected `int`, got `str` - at `$.step`)"),
        (b'{"step":-1,"metrics":{}}', "line 2: is broken (Expected `int` >= 0 - at `$.step`)"),
        (b'{"step":1,"metrics":{},"x":0}', "line 2: is broken (Object contains unknown field `x`)"),
        (b'{"step":1,"metrics":{"a":"many"}}', "line 2: is broken (Invalid enum value 'many' - at `$.metrics[...]`)"),
        (b'{"step":1,"metrics":{},"watch":[[1.0]]}', "line 2: has a watched table of another shape; expected 0 rows of 0, as the first line says"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(tmp_path, line, message):
    path = tmp_path / "h.jsonl"
    path.write_bytes(HEAD + line + b"\n")
    with pytest.raises(FormatError, match=re.escape(f"h.jsonl, {message}") + "$"):
        read_jsonl(path)


def test_an_endless_line_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "h.jsonl"
    with path.open("wb") as file:
        file.write(HEAD)
        file.truncate(1 << 32)  # a hole that takes no room
    with pytest.raises(
        FormatError, match=r"h.jsonl: has a line of over 64 MiB; expected a history$"
    ):
        read_jsonl(path)


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(
        InputError, match=r"h.jsonl: there is no such file; expected a history$"
    ):
        read_jsonl(tmp_path / "h.jsonl")
    with pytest.raises(InputError, match=r": is not a file; expected a history$"):
        History().to_jsonl(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: is not a file; expected a history$"):
        History().to_jsonl(tmp_path / "pipe")
    with pytest.raises(
        InputError, match=r"h.jsonl: cannot be written: No such file or directory; "
    ):
        History().to_jsonl(tmp_path / "none" / "h.jsonl")


def test_a_record_is_encoded_on_one_line():
    record = StepRecord(1, {"a\nb": np.inf, "c": -np.inf})
    assert encode(record) == b'{"step":1,"metrics":{"a\\nb":"Infinity","c":"-Infinity"}}'
