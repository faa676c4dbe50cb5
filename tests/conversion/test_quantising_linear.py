"""`explorer quantize` with schemes for linear layers: safetensors in the libraries' layouts.

That bitsandbytes and compressed-tensors read these parts is tested beside `file_parts`, which makes
them of a whole matrix; here, that a file written piece by piece holds the same ones.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import explorer as ex
from explorer.api.writing import plan_quantisation, quantize_file
from explorer.conversion import scheme_matrices
from explorer.dtypes import find_safetensors
from explorer.pretrained import from_tensors
from explorer.transforms.quantisation.file_parts import file_parts, quantization_config
from explorer.values.changes import changes_of
from tests.cli.in_process import run
from tests.pretrained.test_round_trip import CONFIGS
from tests.pretrained.tiny import checkpoint

LLAMA = CONFIGS["meta-llama/Llama-2-7b-hf"] | {
    "hidden_size": 256, "intermediate_size": 384, "vocab_size": 96, "num_hidden_layers": 2,
}  # fmt: skip
SCHEMES = (
    "nf4",
    "nf4:double",
    "fp4",
    "int8",
    "int4:g64",
    "int8:g128",
    "fp8",
    "fp8:channel",
    "fp8:block",
    "mxfp4",
    "nvfp4",
)
TENSORS = checkpoint(LLAMA)
LINEAR = sorted(n for n in TENSORS if n.endswith("proj.weight"))
READ = ("nf4", "fp4", "int8", "int4:g64", "fp8", "fp8:channel", "fp8:block", "nvfp4")


def raw_tensors(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """The dtype, shape and bytes of each tensor, some in formats that NumPy does not have."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__", None)
    return {
        name: (each["dtype"], each["shape"], data[slice(*each["data_offsets"])])
        for name, each in header.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "hf"
    ex.save(from_tensors(LLAMA, TENSORS)[1], path, config=LLAMA)
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_parts_of_whole_matrices(
    tmp_path: Path, folder: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scheme_matrices, "_PIECE", 1 << 15)  # several pieces a matrix
    scheme_matrices._description.cache_clear()
    change = quantize_file(folder, scheme, tmp_path / "q")
    found = raw_tensors(tmp_path / "q/model.safetensors")
    expected = {name: array for name, array in TENSORS.items() if name not in LINEAR}
    for name in LINEAR:
        expected |= file_parts(scheme, name, TENSORS[name])
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        dtype, shape, raw = found[name]
        if ".quant_state." in name:
            assert json.loads(raw) == json.loads(array.tobytes())
        else:
            assert find_safetensors(dtype).name == array.dtype.name, name  # pyright: ignore
            assert (tuple(shape), raw) == (array.shape, array.tobytes()), name
    config = json.loads((tmp_path / "q/config.json").read_text())
    assert config["quantization_config"] == quantization_config(scheme)
    assert change.bytes_after == sum(len(raw) for _, _, raw in found.values())
    assert change.parameters_after == ex.count_parameters(folder)
    # bytes of tables, shapes and states beside: some hundred a matrix
    planned = plan_quantisation(folder, scheme).bytes_after
    assert 0 <= change.bytes_after - planned < 2000 * len(LINEAR)


def test_what_is_lost(tmp_path: Path, folder: Path):
    """The errors of the record are those of the file, decoded."""
    change = quantize_file(folder, "int8", tmp_path / "q")
    found = load_file(tmp_path / "q/model.safetensors")
    rows = {row.name: row for row in change.tensors}
    for name in LINEAR:
        stem = name.removesuffix(".weight")
        decoded = (
            found[name].astype("float32")
            * (found[f"{stem}.SCB"] / np.float32(127))[:, None]
        )
        lost = changes_of(TENSORS[name], decoded.astype("float32"))
        row = rows[name.replace(".", "/")]
        assert row.relative_error == pytest.approx(lost.relative_l2, rel=1e-4)
        assert (row.before, row.after) == ("float32", "int8")


@pytest.mark.parametrize("scheme", READ)
def test_explorer_counts_the_same_parameters(tmp_path: Path, folder: Path, scheme: str):
    quantize_file(folder, scheme, tmp_path / "q")
    before, after = ex.explore(folder), ex.explore(tmp_path / "q")
    assert after.num_parameters == before.num_parameters
    assert (after.num_weights, after.num_biases) == (before.num_weights, before.num_biases)


def test_the_record_in_the_file(tmp_path: Path, folder: Path):
    quantize_file(folder, "nf4", tmp_path / "q.safetensors")
    with safe_open(tmp_path / "q.safetensors", "numpy") as file:
        words = file.metadata()
    assert words == {"format": "pt", "explorer.transform": "quantize nf4 of hf"}


def test_gguf_to_nf4(tmp_path: Path, folder: Path):
    """Blocks are decoded, and tensors get Hugging Face's names."""
    quantize_file(folder, "Q8_0", tmp_path / "a.gguf")
    quantize_file(tmp_path / "a.gguf", "nf4", tmp_path / "q")
    found = load_file(tmp_path / "q/model.safetensors")
    decoded = ex.load_pretrained(tmp_path / "a.gguf")[1]
    rows = ex.to_checkpoint(decoded, LLAMA)[LINEAR[0]]
    expected = file_parts("nf4", LINEAR[0], np.ascontiguousarray(rows))
    assert found[LINEAR[0]].tobytes() == expected[LINEAR[0]].tobytes()


def test_a_tree_of_parameters(tmp_path: Path):
    params = from_tensors(LLAMA, TENSORS, scan=True)[1]
    quantize_file(params, "nf4", tmp_path / "q", config=LLAMA)
    expected = file_parts("nf4", LINEAR[0], TENSORS[LINEAR[0]])
    found = load_file(tmp_path / "q/model.safetensors")
    assert found[LINEAR[0]].tobytes() == expected[LINEAR[0]].tobytes()


SLIPS = {
    ("gptq", "q"): "gptq is calibrated on activations",
    ("int4wo", "q"): "has no layout in a safetensors file",
    ("nf4", "q.gguf"): "is of format gguf; expected safetensors, which nf4 is stored in",
    ("nf5", "q"): "did you mean",
    ("mxfp4:g64", "q"): "mxfp4",
}


@pytest.mark.parametrize("words", SLIPS)
def test_slips(tmp_path: Path, folder: Path, words: tuple[str, str]):
    scheme, name = words
    done = run("quantize", folder, "--to", scheme, "-o", tmp_path / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert SLIPS[words] in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite(tmp_path: Path):
    tensors = {name: array.copy() for name, array in TENSORS.items()}
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = np.nan
    ex.save(from_tensors(LLAMA, tensors)[1], tmp_path / "hf", config=LLAMA)
    done = run("quantize", tmp_path / "hf", "--to", "nf4", "-o", tmp_path / "q")
    assert (
        "model.layers.1.mlp.up_proj.weight holds NaN at [3, 5]; expected finite"
        in done.stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_twice(tmp_path: Path, folder: Path):
    quantize_file(folder, "nf4", tmp_path / "q")
    done = run("quantize", tmp_path / "q", "--to", "int8", "-o", tmp_path / "r")
    assert "is quantised already (bitsandbytes)" in done.stderr
