"""Files and tensors larger than what a process may hold are described within bounds."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quantize

import explorer as ex
from explorer.formats.files import load_path, pieces_path
from explorer.formats.pieces import Pieces
from explorer.storage.pages import give_back

# ru_maxrss would be that of the process which started this one, if it had more
_PEAK = """
import re, sys, explorer as ex
total = ex.describe(sys.argv[1]).totals
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
print(total.count, total.zeros, total.max, peak)
"""


def sparse_safetensors(path: Path, dtype: str, count: int, last: bytes) -> str:
    """Write a tensor of zeros that takes no room on the disk, and its last element."""
    size = count * len(last)
    entry = {"w": {"dtype": dtype, "shape": [count], "data_offsets": [0, size]}}
    header = json.dumps(entry).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
        file.seek(-len(last), 2)
        file.write(last)
    return str(path)


def described(path: str) -> tuple[int, int, float, int]:
    """Return elements, zeros, the largest and the peak of a process that describes, in MB."""
    words = [sys.executable, "-c", _PEAK, path]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return int(out[0]), int(out[1]), float(out[2]), int(out[3])


@pytest.mark.thorough
def test_a_file_of_2_gb_takes_less_than_500_mb(tmp_path: Path):
    count = 500_000_000
    path = sparse_safetensors(
        tmp_path / "a.safetensors", "F32", count, struct.pack("<f", 2)
    )
    found = described(path)
    assert found[:3] == (count, count - 1, 2.0)
    assert found[3] < 500


@pytest.mark.slow
def test_an_index_beyond_32_bits(tmp_path: Path):
    count = 2**31 + 1
    nan = bytes([0x7F])
    path = sparse_safetensors(tmp_path / "a.safetensors", "F8_E4M3", count, nan)
    found = ex.describe(path).totals
    assert (found.count, found.zeros, found.nan) == (count, count - 1, 1)
    assert found.first_nan == count - 1


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "Q4_1", "Q5_0"])
def test_blocks_in_pieces_are_the_whole(tmp_path: Path, kind: str):
    numbers = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    quantised = GGMLQuantizationType[kind]
    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tensor("w.weight", quantize(numbers, quantised), raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path = str(tmp_path / "a.gguf")
    whole = load_path(path, lambda key: True)["w.weight"]
    pieces = pieces_path(path, lambda key: True)["w.weight"]
    assert isinstance(pieces, Pieces)
    parts = [*pieces.parts(1000)]
    assert len(parts) == 17
    np.testing.assert_array_equal(np.concatenate(parts).reshape(whole.shape), whole)
    assert ex.describe(path).totals == ex.describe({"w": whole}).totals


def test_pages_that_are_given_back_are_read_again(tmp_path: Path):
    numbers = np.arange(100_000, dtype=np.float32)
    np.save(tmp_path / "a.npy", numbers)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    give_back(mapped[10_000:60_000])
    np.testing.assert_array_equal(mapped, numbers)
    give_back(numbers)  # not mapped: nothing happens
    assert numbers[-1] == 99_999


_PEAK_OF = """
import re, sys, explorer as ex
what, *paths = sys.argv[1:]
match what:
    case "describe": found = ex.describe(*paths).totals.max
    case "check": found = len(ex.check_values(*paths).findings)
    case "digest": found = len(ex.digest(*paths).tensors)
    case "diff": found = ex.diff(*paths).tensors[0].first_index
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
print(found, peak, sep="|")
"""


def sparse_matrix(path: Path, rows: int, columns: int, at: int, value: float) -> str:
    """Write a matrix of zeros that takes no room on the disk, and one element that is not 0."""
    size = 4 * rows * columns
    entry = {"w": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, size]}}
    header = json.dumps(entry).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
        file.seek(8 + len(header) + 4 * at)
        file.write(struct.pack("<f", value))
    return str(path)


@pytest.mark.parametrize(
    ("what", "rows", "right"),
    [
        ("describe", 250_000, "3.0"),
        ("digest", 500_000, "1"),
        ("diff", 250_000, "(50000, 7)"),
        ("check", 100_000, "5"),
    ],
)
def test_one_element_that_is_not_0_needs_no_more_memory(
    tmp_path: Path, what: str, rows: int, right: str
):
    """A file of up to 2 GB that is nearly all zeros, which some of these read several times."""
    at = rows // 5 * 1000 + 7
    paths = [sparse_matrix(tmp_path / "a.safetensors", rows, 1000, at, 3.0)]
    if what == "diff":
        paths.append(sparse_matrix(tmp_path / "b.safetensors", rows, 1000, at, 2.0))
    words = [sys.executable, "-c", _PEAK_OF, what, *paths]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found, peak = out.strip().split("|")
    assert found == right
    assert int(peak) < 250
