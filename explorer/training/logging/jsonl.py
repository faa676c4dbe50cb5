"""The numbers of a run as lines of JSON that are appended, and back.

The first line is a header: the run, and the names of the rows and columns of the watched
table. Each other line is a step. A run that resumes cuts off the lines that it will write again.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from explorer.arguments import as_names, check_kinds
from explorer.errors import (
    FormatError,
    InputError,
    TargetError,
    check_number,
    check_path,
    printable,
)
from explorer.storage.local import open_regular
from explorer.storage.writing import open_own, reader_of
from explorer.training.logging.appending import AppendedFile, length_until
from explorer.training.logging.curves import StepRecord
from explorer.training.logging.lines import (
    VERSION,
    HistoryHeader,
    decode_header,
    decode_record,
    encode,
)

__all__ = ["JsonlWriter", "Lines", "read_lines"]

_LONGEST = 1 << 26  # bytes of a line; 15,000 watched rows take 2 MB


class Lines(NamedTuple):
    """The contents of a file; `remarks` say which lines were skipped and why."""

    run: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    records: list[StepRecord]
    remarks: tuple[str, ...]


class JsonlWriter(AppendedFile):
    """Appends records to a file, each in one write, so that a kill tears at most the last.

    Args:
        path: created if it does not exist; an existing file must be of the same run.
        rows: names of the rows of the watched table.
        columns: names of its columns.
        run: a name that identifies the run.
        after: the step of the state that the run resumes from, 0 for its beginning. Lines of
            later steps, which a process wrote before it was killed, and a torn end are cut
            off: with those to come, the file is that of a run without the interruption.
            None to keep every line, and to append.

    Raises:
        FormatError: the file is not a history.
        InputError: it is that of another run, a link, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with JsonlWriter(Path(folder, "history.jsonl"), run="digits") as writer:
    ...         writer.write(StepRecord(1, {"loss": 2.5}))
    ...     print(Path(folder, "history.jsonl").read_text(), end="")
    {"explorer_history":1,"run":"digits","rows":[],"columns":[]}
    {"step":1,"metrics":{"loss":2.5}}
    """

    def __init__(
        self,
        path: str | os.PathLike,
        rows: Iterable[str] = (),
        columns: Iterable[str] = (),
        run: str = "",
        *,
        after: int | None = None,
    ):
        check_path("path", path)
        if after is not None:
            check_number("after", after)
        check_kinds(("run", run, "a str"))
        rows, columns = as_names("rows", rows), as_names("columns", columns)
        self._path = Path(path)
        header = HistoryHeader(VERSION, run, tuple(rows), tuple(columns))
        try:
            _check_file(self._path)
            self._file = open_own(self._path, append=True)
        except OSError as error:
            raise _failed(self._path, "written", error.strerror) from None
        try:
            self._begin(header, after)
        except BaseException:
            self.close()
            raise

    def _begin(self, header: HistoryHeader, after: int | None) -> None:
        """Write the header, or check that it is there, and find or cut off a torn end."""
        self._is_torn = False
        if not os.fstat(self._file).st_size:
            self._append(msgspec.json.encode(header))
            return
        with reader_of(self._file) as file:
            _check_same(self._path, next(_lines_of(self._path, file), b""), header)
        if after is not None:
            self.rewind(after)
        self._find_end()

    def rewind(self, step: int) -> None:
        """Cut off the lines of later steps and a torn end, as `after` does.

        Raises:
            InputError: the file cannot be cut.
        """
        with reader_of(self._file) as file:
            lines = _lines_of(self._path, file)
            end = len(next(lines, b"")) + length_until(step, lines)
        try:
            os.ftruncate(self._file, end)
        except OSError as error:
            raise _failed(self._path, "cut off", error.strerror) from None
        self._find_end()

    def _find_end(self) -> None:
        """See whether the last line is torn: it is ended before the next one."""
        with reader_of(self._file) as file:
            file.seek(-1, os.SEEK_END)
            self._is_torn = file.read() != b"\n"

    def write(self, record: StepRecord) -> None:
        """Append a record.

        Raises:
            InputError: the disk is full.
        """
        self._append(encode(record))

    def _append(self, line: bytes) -> None:
        complete = b"\n" * self._is_torn + line + b"\n"
        try:
            written = os.write(self._file, complete)
        except OSError as error:
            raise _failed(self._path, "written", error.strerror) from None
        self._is_torn = written < len(complete)
        if self._is_torn:
            raise _failed(self._path, "written", "the disk is full")


def read_lines(path: str | os.PathLike) -> Lines:
    """Return the records of a file that `JsonlWriter` wrote, in their order.

    Lines that a kill or a full disk tore are skipped, and remarks say so.

    Raises:
        FormatError: the file is not a history, or a line of it is broken.
        InputError: it cannot be read.
    """
    place = Path(path)
    records, remarks = [], []
    with _open(place) as file:
        lines = _lines_of(place, file)
        header = decode_header(place, next(lines, b""))
        for number, line in enumerate(lines, start=2):
            record = decode_record(place, number, line, header)
            if record is None:
                remarks.append(f"{place}: line {number:,} is torn and was skipped")
            else:
                records.append(record)
    return Lines(header.run, header.rows, header.columns, records, tuple(remarks))


def _check_same(place: Path, line: bytes, header: HistoryHeader) -> None:
    """Check by the first line of a file that it is of the same run."""
    there = decode_header(place, line)
    for name in ("run", "rows", "columns"):
        before, now = getattr(there, name), getattr(header, name)
        if before != now:
            raise InputError(
                place,
                found=f"is the history of another run ({name}: {printable(before, 80)})",
                expected=f"{name}: {printable(now, 80)}",
                cure="write to another file",
            )


def _open(place: Path) -> BinaryIO:
    _check_file(place)
    try:
        return open_regular(place)
    except TargetError as error:
        found = error.found if os.path.exists(place) else "there is no such file"
        raise InputError(place, found=found, expected="a history") from None


def _check_file(place: Path) -> None:
    if os.path.exists(place) and not os.path.isfile(place):
        raise InputError(place, found="is not a file", expected="a history")


def _lines_of(place: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        while line := file.readline(_LONGEST + 1):
            if len(line) > _LONGEST:
                found = "has a line of over 64 MiB"
                raise FormatError(place, found=found, expected="a history")
            yield line
    except OSError as error:
        raise _failed(place, "read", error.strerror) from None


def _failed(place: Path, verb: str, why: str | None) -> InputError:
    cure = "check the permissions of its folder and the free space"
    return InputError(place, found=f"cannot be {verb}: {why}", cure=cure)
