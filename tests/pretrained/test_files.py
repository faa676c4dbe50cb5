"""Folders and files as they are published, and those that cannot be loaded."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from explorer.errors import (
    FormatError,
    InputError,
    TargetError,
    TreeError,
    UnsafePickleError,
)
from explorer.pretrained import config_of, load_pretrained, to_checkpoint
from tests.formats.torch_bytes import SIZES, Named, tensor, write_zip
from tests.pretrained.test_round_trip import CONFIGS, LLAMA, same
from tests.pretrained.tiny import checkpoint

KINDS = {"float32": "Float", "bfloat16": "BFloat16", "float16": "Half"}


def folder(path: Path, config: dict | None = LLAMA) -> Path:
    """A folder with a config.json and no weights yet."""
    path.mkdir(exist_ok=True)
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return path


def write_torch(path: Path, tensors: dict, dtype: str) -> None:
    """Write a state dict as torch.save does."""
    kind = KINDS[dtype]
    assert SIZES[kind] == next(iter(tensors.values())).itemsize
    root = {n: tensor(n, a.shape, kind=kind) for n, a in tensors.items()}
    write_zip(path, root, {name: a.tobytes() for name, a in tensors.items()})


@pytest.mark.parametrize("dtype", KINDS)
def test_safetensors_in_one_file(tmp_path: Path, dtype: str):
    tensors = checkpoint(LLAMA, dtype)
    save_file(tensors, folder(tmp_path) / "model.safetensors")
    for path in (tmp_path, str(tmp_path), tmp_path / "model.safetensors"):
        assert config_of(path) == LLAMA
        assert same(to_checkpoint(load_pretrained(path)[1], LLAMA), tensors)


def test_shards_with_an_index(tmp_path: Path):
    tensors = checkpoint(LLAMA, "bfloat16")
    folder(tmp_path)
    weight_map = {}
    for number in (1, 2):
        file = f"model-{number:05d}-of-00002.safetensors"
        part = dict(list(tensors.items())[number - 1 :: 2])
        save_file(part, tmp_path / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        module, params = load_pretrained(path, scan=True)
        assert module.scan
        assert same(to_checkpoint(params, LLAMA), tensors)


@pytest.mark.parametrize("dtype", KINDS)
def test_pytorch_files(tmp_path: Path, dtype: str):
    config = CONFIGS["openai-community/gpt2"]
    tensors = checkpoint(config, dtype)
    write_torch(folder(tmp_path, config) / "pytorch_model.bin", tensors, dtype)
    assert same(to_checkpoint(load_pretrained(tmp_path)[1], config), tensors)


def test_a_file_may_change_once_it_is_loaded(tmp_path: Path):
    tensors = checkpoint(LLAMA)
    path = folder(tmp_path) / "model.safetensors"
    save_file(tensors, path)
    params = load_pretrained(tmp_path)[1]
    path.write_bytes(bytes(path.stat().st_size))
    assert same(to_checkpoint(params, LLAMA), tensors)


def test_what_is_written_is_read_by_others(tmp_path: Path):
    # transposed views must reach the file in their own order
    tensors = checkpoint(LLAMA)
    save_file(tensors, folder(tmp_path) / "model.safetensors")
    params = load_pretrained(tmp_path, dtype="float16")[1]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float16"}
    again = to_checkpoint(params, LLAMA)
    name = "model.layers.0.mlp.up_proj.weight"
    assert np.array_equal(again[name], tensors[name].astype("float16"))


def refused(path: Path | str, kind: type[InputError] = InputError) -> str:
    with pytest.raises(kind) as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)
    return str(error.value)


EXPECTED = (
    "is not a file or folder; expected a folder with config.json and weights, or a GGUF"
)


def test_no_such_path(tmp_path: Path):
    path = tmp_path / "no"
    assert refused(path, TargetError) == f"{path}: {EXPECTED} file"


def test_a_name_has_no_weights():
    reported = f"gpt2: {EXPECTED} file; a name has no weights: download them, and give their folder"
    assert refused("gpt2", TargetError) == reported
    with pytest.raises(TargetError) as error:
        config_of("gpt2")
    assert str(error.value) == reported


@pytest.mark.parametrize("path", [None, 3, {}, b"gpt2"])
def test_a_path_of_another_type(path: Any):
    reported = f"path: is {type(path).__name__}; expected a str or a pathlib.Path"
    assert refused(path, TreeError) == reported


def test_a_config_is_not_weights(tmp_path: Path):
    save_file(checkpoint(LLAMA), folder(tmp_path) / "model.safetensors")
    path = tmp_path / "config.json"
    assert refused(path, TargetError) == (
        f"{path}: is a config, not weights; expected a folder with one beside its weights, "
        f"or a GGUF file; give the folder, {tmp_path}"
    )
    assert config_of(path) == LLAMA


def test_no_config(tmp_path: Path):
    save_file(checkpoint(LLAMA), folder(tmp_path, None) / "model.safetensors")
    assert refused(tmp_path, TargetError) == (
        f"{tmp_path}: has no config.json; expected a folder with one beside its weights, or "
        "a GGUF file; download it, or pass its content and the tensors to "
        "explorer.pretrained.from_tensors(config, tensors)"
    )


def test_no_weights(tmp_path: Path):
    message = refused(folder(tmp_path), TargetError)
    assert message.startswith(f"{tmp_path}: holds no weights that explorer knows")


def test_a_config_of_another_family(tmp_path: Path):
    save_file(checkpoint(LLAMA), folder(tmp_path, {"model_type": "rwkv"}) / "m.safetensors")
    assert refused(tmp_path).startswith(f"{tmp_path}/config.json: model_type 'rwkv' is not")


def test_a_config_that_is_not_json(tmp_path: Path):
    save_file(checkpoint(LLAMA), folder(tmp_path, None) / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    assert "config.json: is not JSON" in refused(tmp_path, FormatError)


def test_weights_of_another_size(tmp_path: Path):
    save_file(
        checkpoint(LLAMA), folder(tmp_path, LLAMA | {"vocab_size": 41}) / "m.safetensors"
    )
    assert refused(tmp_path).startswith(
        f"{tmp_path}: holds model.embed_tokens.weight [40, 32] where [41, 32] is expected, "
        "lm_head.weight [40, 32] where [41, 32] is expected; expected the 30 tensors"
    )


def test_a_quantised_checkpoint(tmp_path: Path):
    packed = LLAMA | {"quantization_config": {"quant_method": "fp8"}}
    save_file(checkpoint(LLAMA), folder(tmp_path, packed) / "model.safetensors")
    assert refused(tmp_path).startswith(f"{tmp_path}/config.json: specifies fp8 weights; ")


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_file_cut_short(tmp_path: Path, kept: int):
    path = folder(tmp_path) / "model.safetensors"
    save_file(checkpoint(LLAMA), path)
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(tmp_path, FormatError).startswith(f"{path}: ")


def test_no_pickle_is_executed(tmp_path: Path):
    write_zip(folder(tmp_path) / "pytorch_model.bin", {"x": Named("os", "system")})
    assert "os.system" in refused(tmp_path, UnsafePickleError)
