"""Event files are what TensorBoard reads: checked by a decoder that knows the formats alone."""

import os
import struct
import sys

import numpy as np
import pytest

from explorer.errors import InputError, MissingPackageError
from explorer.training.logging.curves import StepRecord
from explorer.training.logging.events import EventWriter
from explorer.training.watch.watch import Watch
from tests.training.logging.test_history import ROWS, run_of


def crc32c(data):
    """Divide by Castagnoli's polynomial bit by bit, most significant bit first."""
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            top = register >> 31 ^ byte >> bit & 1
            register = register << 1 & 0xFFFFFFFF ^ 0x1EDC6F41 * top
    return int(f"{register ^ 0xFFFFFFFF:032b}"[::-1], 2)


def unmasked(data):
    (masked,) = struct.unpack("<I", data)
    rotated = masked - 0xA282EAD8 & 0xFFFFFFFF
    return rotated >> 17 | rotated << 15 & 0xFFFFFFFF


def frames_of(data):
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert crc32c(data[:8]) == unmasked(data[8:12])
        yield (event := data[12 : 12 + length])
        assert crc32c(event) == unmasked(data[12 + length : 16 + length])
        data = data[16 + length :]


def fields_of(data):
    """Return (field, value) pairs of a protocol buffer's message."""
    at, found = 0, []

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(data):
        field, wire = divmod(varint(), 8)
        if wire == 0:
            found.append((field, varint()))
            continue
        size = {1: 8, 5: 4}[wire] if wire != 2 else varint()
        found.append((field, data[at : at + size]))
        at += size
    return found


def scalars_of(path):
    """Return (step, tag, value) of every scalar of an event file, and what else there is."""
    scalars, others = [], []
    for event in map(fields_of, frames_of(path.read_bytes())):
        fields = dict(event)
        assert struct.unpack("<d", fields.pop(1)) == (1234.5,)
        step = fields.pop(2, 0)  # what is 0 may be left out
        for _, value in fields_of(fields.pop(5, b"")):
            parts = dict(fields_of(value))
            scalars.append((step, parts[1].decode(), struct.unpack("<f", parts[2])[0]))
        others += fields.items()
    return scalars, others


def test_the_decoder_knows_published_checksums():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_event_files_hold_every_number_that_is_one(tmp_path):
    history = run_of(300, every=100)
    history.append(2**40, {"loss": np.nan, "é": 1e300, "low": -np.inf})
    with EventWriter(
        tmp_path / "logs", ROWS, Watch.COLUMNS, clock=lambda: 1234.5
    ) as writer:
        for record in history.records:
            writer.write(record)
    (path,) = (tmp_path / "logs").iterdir()
    assert "tfevents" in path.name
    scalars, others = scalars_of(path)
    wanted = []
    for record in history.records:
        wanted += [(record.step, name, np.float32(min(v, np.inf) if v < 1e39 else np.inf)) for name, v in record.metrics.items() if not np.isnan(v)]  # fmt: skip
        if record.watch is not None:
            wanted += [
                (record.step, f"{column}/{row}", record.watch[i, j])
                for i, row in enumerate(ROWS)
                for j, column in enumerate(Watch.COLUMNS[:-1])
            ]
    assert scalars == wanted
    assert others == [(3, b"brain.Event:2"), (7, b"\x08\x01")]


def test_event_files_of_a_folder_are_never_touched(tmp_path):
    run_of(3).to_tensorboard(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for _ in range(3):
        run_of(5).to_tensorboard(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert {path: path.read_bytes() for path in before} == before


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: cannot be written: File exists; check the folder's permissions and free space$"):  # fmt: skip
        EventWriter(tmp_path / "file")
    writer = EventWriter(tmp_path / "logs")
    monkeypatch.setattr(os, "write", lambda file, data: 3)
    with pytest.raises(InputError, match=r"logs: cannot be written: the disk is full; "):
        writer.write(StepRecord(1, {"loss": 1.0}))
    writer.close()


def test_without_tensorboardx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    with pytest.raises(MissingPackageError, match=r"needs tensorboardX, which is not installed; pip install -e '\.\[tensorboard\]' in the repository$"):  # fmt: skip
        EventWriter(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_any_name_can_be_a_tag(tmp_path):
    with EventWriter(tmp_path, clock=lambda: 1234.5) as writer:
        writer.write(StepRecord(1, {"lone \ud800": 1.0}))
    (path,) = tmp_path.iterdir()
    assert scalars_of(path)[0] == [(1, "lone \\ud800", 1.0)]
