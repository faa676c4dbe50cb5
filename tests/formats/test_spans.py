"""Where tensors are stored, against the bytes themselves and the reference readers."""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

from explorer.formats.spans import spans_of_path
from tests.checkpoints import write_sharded
from tests.formats.gguf_bytes import save
from tests.formats.large_files import write_every_format

ARRAYS = {"a": np.arange(6, dtype="float32"), "b": np.arange(4, dtype="float16") + 100}


def test_the_bytes_of_a_safetensors_file_are_the_tensors(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save_file(ARRAYS, path)
    found = spans_of_path(str(path))
    assert found.sources == (str(path),)
    content = path.read_bytes()
    for name, (file, begin, end) in found.known.items():
        assert file == str(path)
        assert content[begin:end] == ARRAYS[str(name)].tobytes()
    assert found.known.keys() == ARRAYS.keys()


def test_the_bytes_of_a_gguf_file_are_those_that_its_own_reader_has(tmp_path: Path):
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    for name, array in ARRAYS.items():
        writer.add_tensor(name, array)
    save(writer)
    found = spans_of_path(str(tmp_path / "model.gguf"))
    tensors = gguf.GGUFReader(tmp_path / "model.gguf").tensors
    assert {name: span[1:] for name, span in found.known.items()} == {
        t.name: (int(t.data_offset), int(t.data_offset) + int(t.n_bytes)) for t in tensors
    }


def test_each_shard_has_its_own(tmp_path: Path):
    layout = {f"layers.{n}.weight": ((2, n + 1), "F32") for n in range(6)}
    folder = write_sharded(tmp_path / "model", layout, 3)
    found = spans_of_path(str(folder))
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())[
        "weight_map"
    ]
    assert {
        name: Path(file).name for name, (file, _, _) in found.known.items()
    } == weight_map
    for name, (file, begin, end) in found.known.items():
        raw = Path(file).read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        offsets = json.loads(raw[8 : 8 + length])[name]["data_offsets"]
        assert [begin - 8 - length, end - 8 - length] == offsets


def test_formats_without_one_place_for_a_tensor_name_their_files(tmp_path: Path):
    for what, path in write_every_format(tmp_path).items():
        found = spans_of_path(str(path))
        assert found.sources, what
        assert bool(found.known) == (what.startswith("safetensors") or what == "GGUF"), what
