"""Quantised folders converted: dequantised where the format has no codes, or a dtype is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.formats.files import load_path
from tests.cli.in_process import run
from tests.pretrained.test_quantised_folders import (
    LINEAR,
    LLAMA,
    QUERY,
    TENSORS,
    assert_same,
    dequantised,
    parts_in,
)

SCHEMES = ("nf4:double", "int8", "int4:g64", "mxfp4")
ENDINGS = (".npz", ".gguf", ".msgpack")


def folder(path: Path, scheme: str) -> Path:
    config, tensors = parts_in(scheme)
    path.mkdir()
    save_file({n: np.asarray(a) for n, a in tensors.items()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


def converted(tmp_path: Path, scheme: str, out: str, *words: str) -> str:
    packed = folder(tmp_path / "packed", scheme)
    ran = run("convert", str(packed), str(tmp_path / out), *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("scheme", SCHEMES)
def test_to_npz(tmp_path: Path, scheme: str):
    converted(tmp_path, scheme, "x.npz")
    with np.load(tmp_path / "x.npz") as found:
        expected = dequantised(scheme)
        assert set(found) == set(expected)
        for name in LINEAR:
            np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_to_gguf(tmp_path: Path, scheme: str):
    converted(tmp_path, scheme, "x.gguf")
    _, found = ex.load_pretrained(tmp_path / "x.gguf", dtype="float32")
    _, expected = ex.load_pretrained(tmp_path / "packed", dtype="float32")
    assert_same(found, expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_to_a_folder_of_a_dtype(tmp_path: Path, scheme: str):
    converted(tmp_path, scheme, "plain", "--dtype", "float32")
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert config["torch_dtype"] == "float32"
    assert "quantization_config" not in config
    _, found = ex.load_pretrained(tmp_path / "plain")
    _, expected = ex.load_pretrained(tmp_path / "packed", dtype="float32")
    assert_same(found, expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_to_a_folder_with_its_codes(tmp_path: Path, scheme: str):
    said = converted(tmp_path, scheme, "copy")
    assert f"{len(LINEAR)} packed weights with the codes that are stored; a dtype" in said
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert "quantization_config" in config
    found, expected = (
        load_path(str(tmp_path / name), lambda key: True) for name in ("copy", "packed")
    )
    assert set(found) == set(expected)
    assert all(found[key].tobytes() == expected[key].tobytes() for key in expected)
    assert_same(ex.load(tmp_path / "copy"), ex.load(tmp_path / "packed"))


def test_a_quantised_config_beside_plain_weights(tmp_path: Path):
    packed = folder(tmp_path / "packed", "nf4")
    ex.save(TENSORS, tmp_path / "plain", like=packed)
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert config == LLAMA


@pytest.mark.parametrize("ending", ENDINGS)
def test_scales_that_are_not_finite(tmp_path: Path, ending: str):
    packed = tmp_path / "packed"
    packed.mkdir()
    config, tensors = parts_in("nf4")
    tensors[f"{QUERY}.weight.absmax"] = np.full_like(
        tensors[f"{QUERY}.weight.absmax"], np.nan
    )
    save_file({n: np.asarray(a) for n, a in tensors.items()}, packed / "m.safetensors")
    (packed / "config.json").write_text(json.dumps(config))
    ran = run("convert", str(packed), str(tmp_path / f"x{ending}"))
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert "cannot be dequantised: its row 0 is not finite; expected codes" in line
    assert not (tmp_path / f"x{ending}").exists()
