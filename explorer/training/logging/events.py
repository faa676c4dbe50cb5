"""Scalars in TensorBoard's event files, written without TensorFlow.

A file is a row of framed records: eight bytes of length, their checksum, that many bytes
of a protocol-buffer `Event`, their checksum. The checksum is CRC-32C, masked.
"""

import os
import struct
import time
from collections.abc import Callable, Iterable
from math import isnan
from pathlib import Path

import numpy as np

from explorer.errors import InputError
from explorer.training.logging.appending import AppendedFile
from explorer.training.logging.curves import Record

__all__ = ["EventWriter"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_SESSION_START = 1


class EventWriter(AppendedFile):
    """Writes records as scalars into a new event file of a folder, which TensorBoard shows.

    A metric is under its own name, what is watched under "update_ratio/layers_7/...". A run
    that goes on writes into a new file of the same folder; TensorBoard joins them, and the
    newer file wins where the run went back.

    Args:
        folder: made where there is none.
        rows: names of the rows of what is watched.
        columns: names of its columns.
        clock: tells the seconds since 1970 that events are stamped with.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        rows: Iterable[str] = (),
        columns: Iterable[str] = (),
        *,
        clock: Callable[[], float] = time.time,
    ):
        columns = tuple(columns)
        self._tags = [f"{column}/{row}" for row in rows for column in columns]
        self._folder, self._clock, self._started = Path(folder), clock, False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = _new_file(self._folder, int(clock()))
        except OSError as error:
            raise _unwritable(self._folder, error.strerror) from None
        self._append(_event(clock(), file_version=b"brain.Event:2"))

    def write(self, record: Record) -> None:
        """Append a record; NaN is left out.

        Raises:
            InputError: the disk is full.
        """
        if not self._started:
            self._append(_event(self._clock(), record.step, session=_SESSION_START))
            self._started = True
        scalars = list(record.metrics.items())
        if record.watch is not None:
            scalars += zip(self._tags, record.watch.ravel().tolist(), strict=True)
        values = [(tag, value) for tag, value in scalars if not isnan(value)]
        self._append(_event(self._clock(), record.step, summary=_summary(values)))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        record = length + _masked_crc(length) + event + _masked_crc(event)
        try:
            written = os.write(self._file, record)
        except OSError as error:
            raise _unwritable(self._folder, error.strerror) from None
        if written < len(record):
            raise _unwritable(self._folder, "the disk is full")


def _new_file(folder: Path, seconds: int) -> int:
    """Open a file that was not there; TensorBoard reads a folder's in order of their names."""
    number = 0
    while True:
        name = f"events.out.tfevents.{seconds:010d}.explorer.{os.getpid()}.{number}"
        try:
            return os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            number += 1


def _event(
    seconds: float,
    step: int = 0,
    *,
    file_version: bytes = b"",
    summary: bytes = b"",
    session: int = 0,
) -> bytes:
    """Return tensorflow.Event: wall_time 1, step 2, file_version 3, summary 5,
    session_log 7."""
    parts = [_key(1, _FIXED64), struct.pack("<d", seconds), _key(2, _VARINT), _varint(step)]
    if file_version:
        parts += _bytes(3, file_version)
    if summary:
        parts += _bytes(5, summary)
    if session:
        parts += _bytes(7, _key(1, _VARINT) + _varint(session))
    return b"".join(parts)


def _summary(scalars: list[tuple[str, float]]) -> bytes:
    """Return tensorflow.Summary: of each value its tag 1 and simple_value 2."""
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite there
        numbers = np.array([value for _, value in scalars], "<f4")
    return b"".join(
        part
        for (tag, _), number in zip(scalars, numbers, strict=True)
        for part in _bytes(
            1,
            b"".join(_bytes(1, tag.encode("utf-8", "backslashreplace")))
            + _key(2, _FIXED32)
            + number.tobytes(),
        )
    )


def _bytes(field: int, value: bytes) -> tuple[bytes, bytes, bytes]:
    return _key(field, _BYTES), _varint(len(value)), value


def _key(field: int, wire: int) -> bytes:
    return bytes((field << 3 | wire,))


def _varint(number: int) -> bytes:
    """Return seven bits a byte, the low ones first; the high bit says that more follow.

    >>> _varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _masked_crc(data: bytes) -> bytes:
    """Return CRC-32C, turned by 15 bits and moved on, as TFRecord files have it.

    >>> _masked_crc(b"123456789").hex()  # of 0xe3069283, the standard's check value
    'e5b08ac7'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)  # Castagnoli's polynomial, reflected
    return byte


_CRC = tuple(map(_remainder, range(256)))


def _unwritable(folder: Path, why: str | None) -> InputError:
    return InputError(
        folder, found=f"cannot be written: {why}", cure="see to the folder and its disk"
    )
