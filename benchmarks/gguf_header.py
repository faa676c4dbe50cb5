"""Time the header of a large GGUF file: `explorer count` against the gguf package's dump.

The file is created first, in a temporary folder: 20,000 tensors and a vocabulary of 150,000
words with scores and types; its data is a hole in a sparse file. Then complete processes
are timed in turn, best of a few, each with its peak memory.

    python benchmarks/gguf_header.py

Goal: at least 10 times faster than gguf-dump, in less than 200 MB.
"""

import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TENSORS = 20_000
WORDS = 150_000
ROUNDS = 3
_STRING, _ARRAY, _FLOAT32, _UINT32, _INT32 = 8, 9, 6, 4, 5
_Q8_0 = 8  # blocks of 32 elements in 34 bytes


def text(value: str) -> bytes:
    """Return a GGUF string: its length in 64 bits, then UTF-8."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def texts(key: str, values: list[str]) -> bytes:
    """Return a key and its array of strings."""
    head = text(key) + struct.pack("<IIQ", _ARRAY, _STRING, len(values))
    return head + b"".join(map(text, values))


def numbers(key: str, kind: int, size: int) -> bytes:
    """Return a key and its array of `size` 32-bit zeros."""
    return text(key) + struct.pack("<IIQ", _ARRAY, kind, size) + bytes(4 * size)


def make(path: Path) -> None:
    """Write the file."""
    pairs = [
        text("general.architecture") + struct.pack("<I", _STRING) + text("llama"),
        text("llama.block_count") + struct.pack("<II", _UINT32, TENSORS // 200),
        texts("tokenizer.ggml.tokens", [f"word{i}" for i in range(WORDS)]),
        numbers("tokenizer.ggml.scores", _FLOAT32, WORDS),
        numbers("tokenizer.ggml.token_type", _INT32, WORDS),
    ]
    names = [
        "token_embd.weight",
        *(f"blk.{i // 200}.ffn_up.{i % 200}.weight" for i in range(TENSORS - 1)),
    ]
    nbytes = 64 * 34  # [32, 64], a multiple of the alignment
    infos = [
        text(name) + struct.pack("<IQQIQ", 2, 64, 32, _Q8_0, index * nbytes)
        for index, name in enumerate(names)
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs))
    with path.open("wb") as file:
        file.write(head + b"".join(pairs) + b"".join(infos))
        start = -(-file.tell() // 32) * 32
        file.truncate(start + len(infos) * nbytes)


def run(command: list[str]) -> tuple[float, float]:
    """Return the seconds and the peak megabytes of a process; its output is discarded."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)  # this child's own peak, not the largest
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there
    return seconds, usage.ru_maxrss * unit / 1e6


def best(command: list[str]) -> tuple[float, float]:
    """Return the best time and the largest peak of a few runs."""
    seconds, peaks = zip(*(run(command) for _ in range(ROUNDS)), strict=True)
    return min(seconds), max(peaks)


def main() -> None:
    """Create the file, time both, print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.gguf"
        make(path)
        print(f"{TENSORS:,} tensors, {WORDS:,} words, {path.stat().st_size:,} bytes")
        python = sys.executable
        commands = {
            "gguf-dump": [python, "-m", "gguf.scripts.gguf_dump", str(path)],
            "gguf-dump --json": [
                python,
                "-m",
                "gguf.scripts.gguf_dump",
                "--json",
                str(path),
            ],
            "explorer count": [python, "-m", "explorer", "count", str(path)],
        }
        figures = {name: best(command) for name, command in commands.items()}
    for name, (seconds, peak) in figures.items():
        print(f"{name:<18}{seconds:8.2f} s{peak:8.0f} MB")
    seconds, peak = figures.pop("explorer count")
    ratio = min(other for other, _ in figures.values()) / seconds
    print(f"{ratio:.1f} times faster than the faster gguf-dump (goal: 10), ", end="")
    print(f"{peak:.0f} MB (goal: under 200)")


if __name__ == "__main__":
    main()
