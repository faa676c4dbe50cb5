"""A window reads of a file what is asked of it, and gives the bytes of the file."""

import numpy as np
import pytest

from explorer.storage.window import Window, indexed
from tests.formats.stores import MemoryBlob


def test_a_window_is_the_bytes_of_its_file():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, 50_000, np.uint8).tobytes()
    reads: list[int] = []
    window = indexed(MemoryBlob("x", data, reads))
    assert isinstance(window, Window)
    places = rng.integers(0, 51_000, (300, 2)).tolist()
    for begin, end in places:
        assert window[begin:end] == data[begin:end]
        assert window.find(b"\n", begin, end) == data.find(b"\n", begin, end)
        if begin < len(data):
            assert window[begin] == data[begin]
        part = window.part(min(begin, end, 50_000), min(max(begin, end), 50_000))
        assert bytes(part) == data[min(begin, end) : max(begin, end)]
        assert part[3:9] == bytes(part)[3:9]
    with pytest.raises(IndexError):
        window[len(data)]


def test_a_window_reads_more_at_a_time_as_a_parser_runs_on():
    reads: list[int] = []
    window = Window(MemoryBlob("x", bytes(1 << 20), reads))
    assert not any(window[at] for at in range(len(window)))
    assert len(reads) <= 9
    reads.clear()
    assert window[5] == 0  # a jump back: little is read again
    assert reads == [4096]
