"""What is written is there as a whole or not at all: full disks, kills, sources that change."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from explorer.errors import InputError
from explorer.formats.writing import OutgoingTensor, write_parts

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.argv = ["explorer", *sys.argv[1:]]
from explorer.cli.main import main
main()
"""
SHORT_OF_MEMORY = """
import re, resource, sys
import jax, flax.nnx, optax, scipy, numpy
from explorer.cli.main import main
jax.numpy.ones(3) + 1
words, sys.argv = sys.argv[1:], ["explorer", "--version"]
try:
    main()
except SystemExit:
    pass
size = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 90_000_000, size + 90_000_000))
sys.argv = ["explorer", *words]
main()
"""
SLOW = """
import sys, time, numpy as np
from explorer.storage.writing import new_file, new_folder, open_new
path, kind = sys.argv[1:]
if kind == "folder":
    with new_folder(path) as folder:
        with open_new(f"{folder}/a") as out:
            out.write(bytes(1000))
        print("started", flush=True)
        time.sleep(60)
else:
    with new_file(path) as out:
        out.write(bytes(1000)); out.flush()
        print("started", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("name", ["b.safetensors", "b.npz", "b.msgpack", "b", "b.gguf"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, name: str):
    save_file({"a.weight": np.ones((100, 1000), "float32")}, tmp_path / "a.safetensors")
    words = ["convert", tmp_path / "a.safetensors", tmp_path / name, "--names", "source"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written: File too large" in done.stderr
    assert "room for 400,000 bytes" in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize(
    "words",
    [
        ["quantize", "a.safetensors", "--to", "int8", "-o", "b.safetensors"],
        ["prune", "a.safetensors", "--pattern", "2:4", "-o", "b.safetensors"],
        ["prune", "a.safetensors", "--pattern", "0.5", "-o", "b"],
        ["merge", "a.safetensors", "a.safetensors", "-o", "b.safetensors"],
    ],
    ids=lambda words: words[0],
)
def test_a_full_disk_leaves_nothing_of_a_transform(tmp_path: Path, words: list[str]):
    kernel = np.ones((300, 1024), "float32")
    save_file({"layers.0.mlp.up_proj.weight": kernel}, tmp_path / "a.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written: File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize(
    "words",
    [
        ["quantize", "a.safetensors", "--to", "int8", "-o", "b.safetensors"],
        ["prune", "a.safetensors", "--pattern", "0.5", "-o", "b.safetensors"],
        ["merge", "a.safetensors", "a.safetensors", "-o", "b.safetensors"],
        ["merge", "a.safetensors", "a.safetensors", "-o", "b.npz"],
    ],
    ids=lambda words: " ".join(words[::4]),
)
def test_memory_that_ends_leaves_nothing(tmp_path: Path, words: list[str]):
    kernel = np.ones((3840, 4096), "float32")
    source = tmp_path / "a.safetensors"
    save_file({"layers.0.mlp.up_proj.weight": kernel}, source)
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, *(_in(tmp_path, each) for each in words)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr in (
        "explorer: this needs more memory than there is\n",
        f"explorer: {source}: cannot be read: Cannot allocate memory\n",
    )
    assert os.listdir(tmp_path) == ["a.safetensors"]


def _in(folder: Path, word: str) -> str:
    return str(folder / word) if word.endswith((".safetensors", ".npz")) else word


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_process_that_is_killed_leaves_nothing_of_that_name(tmp_path: Path, kind: str):
    path = tmp_path / "out.gguf"
    command = [sys.executable, "-c", SLOW, str(path), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        assert not path.exists()
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    [left] = os.listdir(tmp_path)
    assert left.startswith(".out.gguf.")  # hidden, and of no format's name


@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_command_leaves_nothing(tmp_path: Path):
    rows = np.zeros((4000, 5000), "float32")
    save_file({f"layers.{n}.weight": rows for n in range(4)}, tmp_path / "a.safetensors")
    words = ["-m", "explorer", "convert", tmp_path / "a.safetensors", tmp_path / "b.npz"]
    command = [sys.executable, *map(str, words), "--dtype", "bf16"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not [p for p in os.listdir(tmp_path) if p.startswith(".b.npz")]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        text = process.stderr.read()
    assert (process.returncode, text.strip()) == (130, "explorer: stopped")
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("size", [2, 4])
def test_a_source_that_changes(tmp_path: Path, size: int):
    array = np.zeros(size, "float32")
    tensor = OutgoingTensor("a", "float32", (3,), lambda: iter([array]))
    with (
        open(tmp_path / "a", "wb") as out,
        pytest.raises(InputError, match="its source changed while it was read"),
    ):
        write_parts(out, "a", tensor)
