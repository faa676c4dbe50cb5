"""A mapped file that is cut while it is read ends in one line: the system would end the process."""

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import TargetError
from explorer.storage import pages
from explorer.storage.local import LOCAL

# the file is cut to a page when the size of it is asked for a second time: after the first part
_CUT = """
import os, sys
from explorer.storage import pages
path, words = sys.argv[1], sys.argv[2:]
asked = []
class Cut(pages.MappedFile):
    def size(self):
        if self.name.endswith(path):
            asked.append(self.name)
            if len(asked) == 2:
                os.truncate(path, 4096)
        return super().size()
import explorer.storage.local
explorer.storage.local.MappedFile = Cut
sys.argv = ["explorer", *words]
from explorer.cli.main import main
try:
    main()
finally:
    assert len(asked) >= 2, asked
"""
_LARGE = (3000, 3000)
COMMANDS = {
    "stats": ["stats", "a.safetensors"],
    "check": ["stats", "a.safetensors", "--check"],
    "digest": ["digest", "a.safetensors"],
    "diff": ["diff", "a.safetensors", "b.safetensors"],
    "lock": ["lock", "a.safetensors", "--values"],
    "convert": ["convert", "a.safetensors", "c.npz"],
    "cast": ["convert", "a.safetensors", "c.npz", "--dtype", "bf16"],
    "prune": ["prune", "a.safetensors", "--pattern", "2:4", "-o", "c.safetensors"],
    "quantize": ["quantize", "a.safetensors", "--to", "int8", "-o", "c.safetensors"],
    "merge": ["merge", "a.safetensors", "b.safetensors", "-o", "c.safetensors"],
    "gguf": ["stats", "a.gguf"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_so(tmp_path: Path, command: str):
    words = [str(tmp_path / w) if "." in w else w for w in COMMANDS[command]]
    path = Path(words[1])
    write(path)
    if COMMANDS[command][2:3] == ["b.safetensors"]:
        write(tmp_path / "b.safetensors", 1)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", _CUT, path, *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"explorer: {path}: changed while it was read: ")
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def write(path: Path, seed: int = 0) -> None:
    """Write two large matrices."""
    drawn = np.random.default_rng(seed).standard_normal(_LARGE).astype(np.float32)
    if path.suffix == ".gguf":
        writer = GGUFWriter(str(path), "llama")
        kind = GGMLQuantizationType.Q8_0
        for layer in range(2):
            blocks = quantize(drawn[:, :2976], kind)
            writer.add_tensor(f"blk.{layer}.ffn_up.weight", blocks, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return
    names = [f"model.layers.{n}.mlp.up_proj.weight" for n in range(2)]
    save_file({name: drawn + n for n, name in enumerate(names)}, path)


def test_arrays_that_were_loaded(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file({"w": np.zeros(_LARGE, ml_dtypes.bfloat16)}, path)
    tree = ex.load(path)
    path.open("r+b").truncate(4096)
    with pytest.raises(TargetError) as caught:
        ex.describe(tree)
    size = 2 * _LARGE[0] * _LARGE[1]
    found, _, expected = str(caught.value).partition("; expected ")
    assert found == f"{path}: changed while it was read: it was cut to 4,096 bytes"
    assert int(expected.split()[0].replace(",", "")) > size


def test_a_file_that_grows_is_all_there(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(bytes(10_000))
    with LOCAL.blob(str(path)) as blob:
        array = np.frombuffer(blob.map(), np.uint8)
    with path.open("ab") as file:
        file.write(b"more")
    pages.check_there(array[5000:])
    pages.check_there(np.zeros(3))


@pytest.mark.parametrize("size", [0, 100])
def test_a_file_that_is_cut_before_it_is_mapped(tmp_path: Path, size: int):
    path = tmp_path / "a"
    path.write_bytes(bytes(10_000))
    with LOCAL.blob(str(path)) as blob:
        path.open("r+b").truncate(size)
        with pytest.raises(ex.ExplorerError, match="was cut to fewer than 10,000 bytes"):
            blob.map()
