"""`explorer convert`: from every format to every other one, what it says, how it refuses."""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from flax import serialization
from safetensors.numpy import load_file, save_file

import explorer as ex
from explorer.pretrained import from_tensors
from tests.cli.in_process import printed, run
from tests.formats.torch_bytes import tensor, write_zip
from tests.hostile_files import OBSTACLES, snapshot
from tests.pretrained.test_round_trip import CONFIGS, same
from tests.pretrained.tiny import checkpoint

LLAMA = CONFIGS["meta-llama/Llama-2-7b-hf"]
RNG = np.random.default_rng(0)
ARRAYS = {
    "layer.0.weight": RNG.standard_normal((64, 48)).astype(np.float32),
    "layer.0.bias": np.zeros(64, np.float32),
    "norm.running_mean": np.ones(48, np.float32),
    "step": np.array(7, np.int64),
}


def write_source(path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(ARRAYS, path)
    elif path.suffix == ".npz":
        np.savez(path, **ARRAYS)  # pyright: ignore
    elif path.suffix == ".msgpack":
        tree = {"layer": {"0": {"weight": ARRAYS["layer.0.weight"], "bias": ARRAYS["layer.0.bias"]}},
                "norm": {"running_mean": ARRAYS["norm.running_mean"]}, "step": ARRAYS["step"]}  # fmt: skip
        path.write_bytes(serialization.msgpack_serialize(tree))
    elif path.suffix == ".bin":
        stored = {name: np.ascontiguousarray(a).tobytes() for name, a in ARRAYS.items()}
        kinds = {"float32": "Float", "int64": "Long"}
        tensors = {
            name: tensor(str(n), a.shape, kind=kinds[a.dtype.name])
            for n, (name, a) in enumerate(ARRAYS.items())
        }
        write_zip(path, tensors, dict(zip(map(str, range(len(stored))), stored.values())))
    return path


@pytest.mark.parametrize("target", ["safetensors", "npz", "msgpack", "orbax", "folder"])
@pytest.mark.parametrize("source", ["safetensors", "npz", "msgpack", "bin"])
def test_every_pair(tmp_path: Path, source: str, target: str):
    path = write_source(tmp_path / f"a.{source}")
    out = tmp_path / ("out" if target == "folder" else f"out.{target}")
    assert "4 tensors" in printed("convert", path, out)
    assert ex.diff(path, out).identical
    before, after = ex.explore(path), ex.explore(out)
    assert (before.num_parameters, before.num_tensors) == (
        after.num_parameters,
        after.num_tensors,
    )
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_casts_are_said(tmp_path: Path):
    path = write_source(tmp_path / "a.safetensors")
    text = printed("convert", path, tmp_path / "b.safetensors", "--dtype", "bf16")
    found = load_file(tmp_path / "b.safetensors")
    weight = ARRAYS["layer.0.weight"]
    change = np.linalg.norm(found["layer.0.weight"].astype(np.float64) - weight)
    error = change / np.linalg.norm(weight.astype(np.float64))
    assert "float32 -> bfloat16: 2 tensors" in text
    assert f"largest relative error {error:.2g} (layer.0.weight)" in text
    # what is not a parameter keeps its dtype
    assert found["norm.running_mean"].dtype == np.float32
    assert found["step"].dtype == np.int64


def test_numbers_that_do_not_fit_are_named(tmp_path: Path):
    save_file(
        {"a.weight": np.array([[1.0, 1e9], [np.nan, 2]], "float32")},
        tmp_path / "a.safetensors",
    )
    text = printed(
        "convert", tmp_path / "a.safetensors", tmp_path / "b.npz", "--dtype", "f16"
    )
    text = " ".join(text.split())
    assert "1 numbers became infinite (a.weight)" in text
    assert "1 NaN or infinities before (a.weight)" in text


def test_a_model_there_and_back(tmp_path: Path):
    """Hugging Face's folder -> GGUF -> Flax's names -> Hugging Face's names: the same bytes."""
    tensors = checkpoint(LLAMA)
    folder = tmp_path / "hf"
    ex.save(from_tensors(LLAMA, tensors)[1], folder, config=LLAMA)
    printed("convert", folder, tmp_path / "m.gguf")
    printed("convert", tmp_path / "m.gguf", tmp_path / "m.npz", "--names", "flax")
    text = printed("convert", tmp_path / "m.npz", tmp_path / "back", "--like", folder)
    assert "under Hugging Face's names" in " ".join(text.split())
    assert same(load_file(tmp_path / "back/model.safetensors"), tensors)
    config = json.loads((tmp_path / "back/config.json").read_text())
    assert config == json.loads((folder / "config.json").read_text())
    assert ex.diff(folder, tmp_path / "m.gguf").identical
    assert ex.diff(tmp_path / "m.gguf", tmp_path / "m.npz").identical


def test_tied_tensors_once(tmp_path: Path):
    """Two names of one storage: safetensors refuses them, and GGUF has one of them."""
    data = np.arange(12, dtype="float32")
    one = tensor("0", (3, 4))
    write_zip(
        tmp_path / "a.bin",
        {"embed.weight": one, "lm_head.weight": one},
        {"0": data.tobytes()},
    )
    saved = ex.save(tmp_path / "a.bin", tmp_path / "a.safetensors")
    assert saved.tensors == 1
    assert list(load_file(tmp_path / "a.safetensors")) == ["embed.weight"]


def test_blocks_are_decoded(tmp_path: Path):
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "unheard-of")
    rows = RNG.standard_normal((4, 64)).astype(np.float32)
    stored = gguf.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("a.weight", stored, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    printed("convert", tmp_path / "a.gguf", tmp_path / "a.safetensors")
    expected = gguf.dequantize(stored, gguf.GGMLQuantizationType.Q8_0)
    np.testing.assert_array_equal(
        load_file(tmp_path / "a.safetensors")["a.weight"], expected
    )


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("name", ["out.safetensors", "out.gguf", "out"])
def test_what_is_there_is_not_changed(tmp_path: Path, obstacle: str, name: str):
    path = write_source(tmp_path / "a.safetensors")
    OBSTACLES[obstacle](tmp_path / name)
    before = snapshot(tmp_path)
    done = run("convert", path, tmp_path / name, "--names", "source")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected a name that nothing has" in done.stderr
    assert done.stderr.count("\n") == 1
    assert snapshot(tmp_path) == before


def test_the_input_itself(tmp_path: Path):
    path = write_source(tmp_path / "a.safetensors")
    before = snapshot(tmp_path)
    assert run("convert", path, path).returncode == 2
    assert snapshot(tmp_path) == before


SLIPS = {
    (
        "out.gguff",
    ): "no format ends in .gguff; expected safetensors, gguf, npz, msgpack, orbax, or a folder of safetensors; did you mean gguf?",
    ("out", "--format", "ggfu"): "did you mean gguf?",
    ("out.gguf",): "has no architecture, by which its tensors would be named",
    ("out.npz", "--dtype", "bf17"): "no dtype is called 'bf17'; expected bfloat16",
    ("out.npz", "--dtype", "q4_k"): "expected float32, float16, bfloat16",
    ("out.npz", "--dtype", "int8"): "expected float32, float16, bfloat16",
    ("out", "--names", "hg"): "names: is 'hg'; expected hf or gguf or flax or source",
    ("out.npz", "--select", "nothing/*"): "nothing",
    ("no/such/folder/out.npz",): "cannot be written",
    ("out", "--shard-bytes", "0"): "shard_bytes: is 0; expected 1 or more",
}


@pytest.mark.parametrize("words", SLIPS)
def test_slips(tmp_path: Path, words: tuple[str, ...]):
    path = write_source(tmp_path / "a.safetensors")
    out, *options = words
    done = run("convert", path, tmp_path / out, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert SLIPS[words] in done.stderr
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_no_pickle_is_executed(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(
        b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00touchq\x00\x85R."
    )
    done = run("convert", tmp_path / "a.bin", tmp_path / "a.npz")
    assert done.returncode == 2
    assert "os.system" in done.stderr
    assert not (tmp_path / "a.npz").exists()


def test_a_target_that_is_cut_short(tmp_path: Path):
    path = write_source(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    assert run("convert", path, tmp_path / "b.npz").returncode == 2
    assert not (tmp_path / "b.npz").exists()


def test_tokenizer_files_are_copied(tmp_path: Path):
    folder = tmp_path / "hf"
    ex.save(from_tensors(LLAMA, checkpoint(LLAMA))[1], folder, config=LLAMA)
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    (folder / "notes.txt").write_text("not a tokenizer's")
    printed("convert", folder, tmp_path / "b", "--dtype", "bf16")
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == ["config.json", "model.safetensors", "tokenizer_config.json"]
    assert json.loads((tmp_path / "b/config.json").read_text())["torch_dtype"] == "bfloat16"
    shutil.rmtree(folder)
