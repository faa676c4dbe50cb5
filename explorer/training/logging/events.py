"""Scalars in TensorBoard's event files, written without TensorFlow.

tensorboardX encodes the events and computes their checksums; a step is one event. Its own
SummaryWriter makes an event of every scalar, which takes an order of magnitude longer
(`benchmarks/event_files.py`), and writes from a thread that loses what the disk refuses.
Here every event is one write, so that a kill tears at most the last one.
"""

import os
import struct
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from explorer.arguments import as_names
from explorer.errors import InputError, MissingPackageError, check_path
from explorer.storage.writing import create_file, make_folders
from explorer.training.logging.appending import AppendedFile
from explorer.training.logging.curves import StepRecord

__all__ = ["EventWriter"]


class EventWriter(AppendedFile):
    """Writes records as scalars into a new event file of a folder, which TensorBoard shows.

    A metric is under its own name, what is watched under "update_ratio/layers_7/...". A run
    that is continued writes into a new file of the same folder; TensorBoard joins them, and
    the newer file wins where the run went back.

    Args:
        folder: created if it does not exist.
        rows: names of the rows of what is watched.
        columns: names of its columns.
        clock: returns the seconds since 1970 that events are stamped with.

    Raises:
        InputError: the folder cannot be written to.
        MissingPackageError: tensorboardX is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with EventWriter(folder, clock=lambda: 1_700_000_000) as writer:
    ...         writer.write(StepRecord(1, {"loss": 2.5}))
    ...     [path.name.split(".explorer.")[0] for path in Path(folder).iterdir()]
    ['events.out.tfevents.1700000000']
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        rows: Iterable[str] = (),
        columns: Iterable[str] = (),
        *,
        clock: Callable[[], float] = time.time,
    ):
        check_path("folder", folder)
        rows, columns = as_names("rows", rows), as_names("columns", columns)
        self._tags = [_utf8(f"{column}/{row}") for row in rows for column in columns]
        self._folder, self._clock, self._started = Path(folder), clock, False
        try:
            # their classes are made as they are imported, and unknown to type checkers
            self._events: Any = import_module("tensorboardX.proto.event_pb2")
            self._summaries: Any = import_module("tensorboardX.proto.summary_pb2")
            self._checksum = import_module("tensorboardX.record_writer").masked_crc32c
        except ImportError:
            raise MissingPackageError(
                folder,
                found="needs tensorboardX, which is not installed",
                cure="pip install -e '.[tensorboard]' in the repository",
            ) from None
        try:
            make_folders(self._folder)
            self._file = _new_file(self._folder, int(clock()))
        except OSError as error:
            raise _unwritable(self._folder, error.strerror) from None
        self._append(0, file_version="brain.Event:2")

    def write(self, record: StepRecord) -> None:
        """Append a record; NaN is left out.

        Raises:
            InputError: the disk is full.
        """
        if not self._started:
            log = self._events.SessionLog
            self._append(record.step, session_log=log(status=log.START))
            self._started = True
        scalars = [(_utf8(name), value) for name, value in record.metrics.items()]
        if record.watch is not None:
            scalars += zip(self._tags, record.watch.ravel().tolist(), strict=True)
        with np.errstate(over="ignore"):  # what is beyond float32 is infinite there
            numbers = np.array([value for _, value in scalars], np.float32).tolist()
        summary = self._summaries.Summary()
        for (tag, _), number in zip(scalars, numbers, strict=True):
            if not isnan(number):
                summary.value.add(tag=tag, simple_value=number)
        self._append(record.step, summary=summary)

    def _append(self, step: int, **content: Any) -> None:
        """Write an event, framed by its length and by checksums of both."""
        event = self._events.Event(wall_time=self._clock(), step=step, **content)
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = (struct.pack("<I", self._checksum(part)) for part in (length, data))
        frame = b"".join((length, next(checksums), data, next(checksums)))
        try:
            written = os.write(self._file, frame)
        except OSError as error:
            raise _unwritable(self._folder, error.strerror) from None
        if written < len(frame):
            raise _unwritable(self._folder, "the disk is full")


def _new_file(folder: Path, seconds: int) -> int:
    """Open a new file; TensorBoard reads those of a folder in the order of their names."""
    number = 0
    while True:
        name = f"events.out.tfevents.{seconds:010d}.explorer.{os.getpid()}.{number}"
        try:
            return create_file(folder / name)
        except FileExistsError:
            number += 1


def _utf8(tag: str) -> str:
    """Return a tag as protocol buffers take it: without lone surrogates."""
    return tag.encode("utf-8", "backslashreplace").decode()


def _unwritable(folder: Path, why: str | None) -> InputError:
    cure = "check the folder's permissions and free space"
    return InputError(folder, found=f"cannot be written: {why}", cure=cure)
