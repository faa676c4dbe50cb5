"""The lines of a history: a record as JSON, and back, number for number.

JSON has no NaN and no infinity: they are written as null and "Infinity".
"""

from math import inf, isfinite, nan
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from explorer.errors import FormatError
from explorer.training.logging.curves import StepRecord

__all__ = ["VERSION", "HistoryHeader", "decode_header", "decode_record", "encode"]

VERSION = 1

_Number = float | Literal["Infinity", "-Infinity"] | None
_WORDS: dict[_Number, float] = {None: nan, "Infinity": inf, "-Infinity": -inf}


class HistoryHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: the run, and the names of the rows and columns of its watched table."""

    explorer_history: int
    run: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    step: Annotated[int, msgspec.Meta(ge=0)]
    metrics: dict[str, _Number]
    watch: list[list[_Number]] | None = None


def encode(record: StepRecord) -> bytes:
    """Return a record as a line of JSON from which exactly the same numbers are read back.

    >>> encode(StepRecord(3, {"loss": 0.5}, np.array([[0.1, np.nan]], np.float32)))
    b'{"step":3,"metrics":{"loss":0.5},"watch":[[0.1,null]]}'
    """
    line: dict[str, Any] = {"step": record.step}
    line["metrics"] = {name: _to_json(value) for name, value in record.metrics.items()}
    if record.watch is not None:
        # the shortest digits of a float32, not those of the Python float it converts to
        table = record.watch.astype(str).tolist()
        line["watch"] = [[_to_json(float(text)) for text in row] for row in table]
    return msgspec.json.encode(line)


def decode_header(place: Path, line: bytes) -> HistoryHeader:
    """Return the header that the first line of a file is.

    Raises:
        FormatError: it is not one, or that of another version.
    """
    try:
        header = _header_in(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FormatError(
            place,
            found="is not the history of a run",
            expected='a first line {"explorer_history":1,...}',
            cure="choose another file",
        ) from None
    if header.explorer_history != VERSION:
        raise FormatError(
            place,
            found=f"is a history of version {header.explorer_history}",
            expected=f"version {VERSION}",
            cure="read it with the explorer that wrote it",
        )
    return header


def decode_record(
    place: Path, number: int, line: bytes, header: HistoryHeader
) -> StepRecord | None:
    """Return the record of a line; None for one that is torn.

    Raises:
        FormatError: the line is broken, or its table is not that of the header.
    """
    try:
        found = _line_in(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # in a torn line the last brace is missing, or is that of the metrics
        if not line.rstrip().endswith(b"}") or "truncated" in str(error):
            return None
        raise FormatError(f"{place}, line {number}", found=f"is broken ({error})") from None
    metrics = {name: _from_json(value) for name, value in found.metrics.items()}
    if found.watch is None:
        return StepRecord(found.step, metrics)
    shape = (len(header.rows), len(header.columns))
    if len(found.watch) != shape[0] or {*map(len, found.watch)} - {shape[1]}:
        raise FormatError(
            f"{place}, line {number}",
            found="has a watched table of another shape",
            expected=f"{shape[0]} rows of {shape[1]}, as the first line says",
        )
    watch = np.array([list(map(_from_json, row)) for row in found.watch], np.float32)
    return StepRecord(found.step, metrics, watch.reshape(shape))


def _to_json(value: float) -> _Number:
    if isfinite(value):
        return value
    return next((word for word, number in _WORDS.items() if number == value), None)


def _from_json(value: _Number) -> float:
    return value if isinstance(value, float) else _WORDS[value]


_header_in = msgspec.json.Decoder(HistoryHeader).decode
_line_in = msgspec.json.Decoder(_Line).decode
