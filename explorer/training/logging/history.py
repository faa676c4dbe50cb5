"""The history of a run: the metrics and the watched statistics of every step."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from explorer.errors import InputError, check_number, check_path, check_type
from explorer.paths import matches
from explorer.training.logging.curves import (
    Curve,
    Run,
    StepRecord,
    metric_curve,
    watched_curve,
)
from explorer.training.logging.events import EventWriter
from explorer.training.logging.jsonl import JsonlWriter, read_lines
from explorer.training.logging.lines import encode
from explorer.training.logging.table import history_text
from explorer.training.watch.watch import Watch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History", "Writer", "read_jsonl"]

# metrics of a step that are arrays, not numbers
_ARRAYS = ("bad", "watch")
_NARROWEST = 60  # cells of a line


class Writer(Protocol):
    """What receives each record as it is added."""

    def write(self, record: StepRecord) -> None:
        """Write a record."""
        ...


class History:
    """The record of a run: steps are appended, and records never change.

    A step that is recorded already replaces the records from that step on, as in a run that
    goes back to a checkpoint.

    Args:
        rows: names of the rows of what is watched: `watch.rows(params)`.
        columns: names of its columns.
        run: a name that identifies the run in the files that are written.
        writers: receive each record as it is added: a `JsonlWriter`, an `EventWriter`.

    Attributes:
        remarks: on the file that it was read from.
        learned: where the parameters changed, where somebody found it out: what
            `explorer.learned` returned of those before and after.

    >>> history = History()
    >>> history.append(1, {"loss": 2.5})
    >>> history.append(2, {"loss": 1.5})
    >>> history.metric("loss")
    Curve(steps=array([1, 2]), values=array([2.5, 1.5]))
    """

    def __init__(
        self,
        rows: Iterable[str] = (),
        columns: Iterable[str] = Watch.COLUMNS,
        *,
        run: str = "",
        writers: Iterable[Writer] = (),
    ):
        for name, given in (("rows", rows), ("columns", columns), ("writers", writers)):
            if not hasattr(type(given), "__iter__"):
                check_type(name, given, (), "a list")
        self.rows, self.columns, self.run = tuple(rows), tuple(columns), run
        self.remarks: tuple[str, ...] = ()
        self.learned: Any = None
        self._writers = tuple(writers)
        self._records: list[StepRecord] = []

    @property
    def records(self) -> tuple[StepRecord, ...]:
        """The steps, in the order of their numbers."""
        return tuple(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        last = f", the last {self._records[-1].step:,}" if self._records else ""
        return f"History({len(self):,} steps{last}; {len(self.rows):,} rows watched)"

    def append(self, step: int, metrics: Mapping[str, Any], watch: Any = None) -> None:
        """Add a step.

        Args:
            step: its number, 0 or more.
            metrics: numbers by name, as `make_train_step` returns them, on the host. "bad",
                indices of tensors, is left out; "watch" stands for `watch`.
            watch: what `Watch.measure` returned, [rows, columns]; None, or NaN throughout,
                where the step was not watched.

        Raises:
            InputError: a step below 0, a metric that is not a number, a `watch` of another
                shape; or a writer cannot write.
        """
        check_number("step", step)
        if step < 0:
            raise InputError("step", found=str(step), expected="0 or more")
        check_type("metrics", metrics, Mapping, "a dict of numbers by name")
        numbers = {k: _number(k, v) for k, v in metrics.items() if k not in _ARRAYS}
        table = self._table_of(metrics.get("watch") if watch is None else watch)
        record = StepRecord(int(step), numbers, table)
        self._take(record)
        for writer in self._writers:
            writer.write(record)

    def rewind(self, step: int) -> None:
        """Forget later steps, which a run that goes on from this one takes again.

        They leave the files of the writers that can cut them off, as `JsonlWriter` can.

        Raises:
            InputError: a file cannot be cut.

        >>> history = History()
        >>> history.append(1, {"loss": 2.5})
        >>> history.append(2, {"loss": 1.5})
        >>> history.rewind(1)
        >>> history
        History(1 steps, the last 1; 0 rows watched)
        """
        check_number("step", step)
        while self._records and self._records[-1].step > step:
            self._records.pop()
        for writer in self._writers:
            if isinstance(writer, JsonlWriter):
                writer.rewind(step)

    def metric(self, name: str) -> Curve:
        """Return the values of a metric, and the numbers of the steps that have it."""
        check_type("name", name, str, "the name of a metric")
        return metric_curve(self._records, name)

    def watched(self, column: str, glob: str = "**") -> tuple[tuple[str, ...], Curve]:
        """Return the names of rows, and their values in a column over the watched steps.

        Raises:
            InputError: there is no such column, or the glob matches no row.
        """
        at, rows = self._column(column), self._rows(glob)
        names = tuple(self.rows[row] for row in rows)
        return names, watched_curve(self._records, at, rows)

    def table(self, last: int | None = None, *, glob: str = "**", width: int = 100) -> str:
        """Return the progress of the metrics and the newest statistics as plain text.

        Args:
            last: how many of the steps make the curve, from the end; None for all.
            glob: which rows of what is watched.
            width: cells of a line, 60 or more.
        """
        if last is not None:
            check_number("last", last)
        check_number("width", width)
        if width < _NARROWEST:
            raise InputError("width", found=str(width), expected=f"{_NARROWEST} or more")
        return history_text(self._run(), self._rows(glob), last, width)

    def plot(
        self, path: str | os.PathLike | None = None, *, column: str = "update_ratio"
    ) -> "Figure":
        """Return a figure of the loss, the update ratios and a column, layer by layer.

        Args:
            path: where to save it as well, in the format of its ending. An earlier plot is
                replaced if its format says that it is one (png, svg, pdf, ps, eps); any
                other file is left alone.
            column: what the heat map shows.

        Raises:
            MissingPackageError: matplotlib is not installed.
            InputError: no steps, no such column, or the file cannot be written.
        """
        from explorer.document.figures import save_figure
        from explorer.training.logging.plots import MARK, plot_history

        self._column(column)
        if path is not None:
            check_path("path", path)
        figure = plot_history(self._run(), column)
        if path is not None:
            save_figure(figure, path, MARK)
        return figure

    def to_jsonl(self, path: str | os.PathLike) -> None:
        """Append to a file the steps that it does not hold; `read_jsonl` reads them back.

        Raises:
            FormatError: the file exists and is not a history.
            InputError: it is that of another run, or cannot be written.
        """
        with JsonlWriter(path, self.rows, self.columns, self.run) as writer:
            there = read_jsonl(path).records
            same = 0
            for old, new in zip(there, self._records):
                if encode(old) != encode(new):
                    break
                same += 1
            for record in self._records[same:]:
                writer.write(record)

    def to_tensorboard(self, folder: str | os.PathLike) -> None:
        """Write all steps into a new event file of a folder, for TensorBoard to show.

        Raises:
            InputError: the folder cannot be written to.
        """
        with EventWriter(folder, self.rows, self.columns) as writer:
            for record in self._records:
                writer.write(record)

    def _run(self) -> Run:
        return Run(self._records, self.rows, self.columns)

    def _take(self, record: StepRecord) -> None:
        while self._records and self._records[-1].step >= record.step:
            self._records.pop()
        self._records.append(record)

    def _table_of(self, watch: Any) -> np.ndarray | None:
        if watch is None:
            return None
        table = np.array(watch, np.float32)  # a copy: the caller's may be used again
        if table.shape != (len(self.rows), len(self.columns)):
            raise InputError(
                "watch",
                found=f"an array of shape {table.shape}",
                expected=f"{len(self.rows)} rows of {len(self.columns)} columns",
                cure="make the history of the rows: History(watch.rows(params))",
            )
        if np.isnan(table).all():
            return None
        table.setflags(write=False)
        return table

    def _column(self, name: str) -> int:
        check_type("column", name, str, "the name of a column")
        if name not in self.columns:
            known = ", ".join(self.columns)
            raise InputError("column", found=repr(name), expected=f"one of {known}")
        return self.columns.index(name)

    def _rows(self, glob: str) -> list[int]:
        check_type("glob", glob, str, "a glob of names")
        rows = [row for row, name in enumerate(self.rows) if matches(name, glob)]
        if self.rows and not rows:
            raise InputError(
                "glob",
                found=f"{glob!r} matches none of {len(self.rows)} rows",
                expected=f"a glob of names such as {self.rows[0]}",
            )
        return rows


def read_jsonl(path: str | os.PathLike) -> History:
    """Return the history that a file holds; its `remarks` say which lines are torn.

    Raises:
        FormatError: the file is not a history, or a line of it is broken.
        InputError: it cannot be read.

    >>> import tempfile
    >>> history = History(run="digits")
    >>> history.append(1, {"loss": 2.5})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history.to_jsonl(f"{folder}/history.jsonl")
    ...     read_jsonl(f"{folder}/history.jsonl").records
    (StepRecord(step=1, metrics={'loss': 2.5}, watch=None),)
    """
    check_path("path", path)
    lines = read_lines(path)
    history = History(lines.rows, lines.columns, run=lines.run)
    history.remarks = lines.remarks
    for record in lines.records:
        history._take(record)
    return history


def _number(name: str, value: Any) -> float:
    array = np.asarray(value)
    if array.ndim or (array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16"):
        raise InputError(
            f"metrics[{name!r}]",
            found=f"{array.dtype} of shape {array.shape}",
            expected="a number",
            cure="append the steps of one call one by one" if array.ndim else "",
        )
    return float(array)
