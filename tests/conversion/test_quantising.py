"""`explorer quantize`: plans without weights, and GGUF files by llama.cpp's mixes."""

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.api.writing import plan_quantisation, quantize_file
from explorer.pretrained import from_tensors
from explorer.sizing.weights.gguf_files import tensor_types
from explorer.sizing.weights.parsing import parse_scheme
from explorer.transforms.quantisation.ggml import decode
from tests.cli.in_process import printed, run
from tests.pretrained.test_round_trip import CONFIGS
from tests.pretrained.tiny import architecture, checkpoint

LLAMA = CONFIGS["meta-llama/Llama-2-7b-hf"] | {
    "hidden_size": 256, "intermediate_size": 512, "vocab_size": 96, "num_hidden_layers": 2,
}  # fmt: skip
MIXES = (
    "Q4_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K_M",
    "Q4_K_M",
    "Q5_K_S",
    "Q6_K",
    "IQ4_NL",
    "IQ4_XS",
    "F16",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "hf"
    ex.save(from_tensors(LLAMA, checkpoint(LLAMA, "bfloat16"))[1], path, config=LLAMA)
    return path


def test_a_published_figure():
    """Llama-3.1-8B-Instruct-Q4_K_M.gguf has 4,912,898,304 bytes of tensors: 4.8944 a weight."""
    text = printed("quantize", "llama-3.1-8b", "--to", "Q4_K_M", "--plan")
    assert "8,030,261,248 parameters" in text
    assert "4.8944 bits per weight" in text
    value = json.loads(
        printed("quantize", "llama-3.1-8b", "--to", "Q4_K_M", "--plan", "--format", "json")
    )
    assert (value["parameters"], value["stored_bytes"]) == (8_030_261_248, 4_912_898_304)
    # without rope_freqs, 64 float32 that are a buffer: as `count` says of the file
    assert value["bits_per_weight"] == 8 * (4_912_898_304 - 256) / 8_030_261_248
    assert value["trainable_parameters"] == 8_030_261_248
    assert sum(value["by_type"].values()) == value["stored_bytes"]
    assert set(value["by_type"]) == {"q4_k", "q6_k", "float32"}


def test_a_plan_loads_no_arrays():
    code = (
        "import sys; sys.argv = ['explorer', 'quantize', 'llama-3.1-8b', '--to', '{}', '--plan']\n"
        "from explorer.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code\n"
        "assert not {{'jax', 'numpy', 'ml_dtypes'}} & set(sys.modules)"
    )
    for scheme in ("Q4_K_M", "nf4"):
        command = [sys.executable, "-c", code.format(scheme)]
        subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize(
    "scheme", ["nf4", "nf4:double", "int8", "int4:g64", "fp8:block", "Q4_0:pure"]
)
def test_plans_agree_with_those_of_memory(scheme: str):
    change = plan_quantisation("llama-3.1-8b", scheme)
    plan = ex.plan("llama-3.1-8b", quantize=scheme)
    terms = {term.name: term.bytes for term in plan.terms}
    assert change.bytes_after == terms["parameters"] + terms.get("quantization", 0)
    assert change.parameters_after == 8_030_261_248
    assert sum(row.bytes_after for row in change.by_component) == change.bytes_after


@pytest.mark.parametrize("mix", MIXES)
def test_every_mix(tmp_path: Path, folder: Path, mix: str):
    """Types as the mixing rule says, sizes as planned, errors as the decoded file has them."""
    path = tmp_path / "out.gguf"
    change = quantize_file(folder, mix, path)
    expected = {t.name: k for t, k in tensor_types(architecture(LLAMA), parse_scheme(mix))}
    reader = gguf.GGUFReader(path)
    spelled = {"float32": "F32", "float16": "F16"}
    found = {t.name: t.tensor_type.name for t in reader.tensors}
    assert found == {name: spelled.get(k, k.upper()) for name, k in expected.items()}
    assert (
        reader.fields["general.file_type"].contents() == gguf.LlamaFileType[f"MOSTLY_{mix}"]
    )
    planned = plan_quantisation(folder, mix)
    assert change.bytes_after == planned.bytes_after == ex.count_bytes(path)
    assert change.parameters_after == ex.count_parameters(folder)
    ex.save(folder, tmp_path / "f32.gguf", dtype="float32")
    before = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "f32.gguf").tensors}
    for tensor, row in zip(reader.tensors, change.tensors, strict=True):
        assert row.name == tensor.name.replace(".", "/")
        assert row.bytes_after == tensor.n_bytes
        if row.relative_error is None:
            continue
        exact = before[tensor.name].astype(np.float64)
        decoded = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        error = np.linalg.norm(decoded - exact) / np.linalg.norm(exact)
        assert row.relative_error == pytest.approx(error, rel=1e-5)
        assert row.max_abs == pytest.approx(np.abs(decoded - exact).max(), rel=1e-5)


def test_a_gguf_file_keeps_what_it_has(tmp_path: Path, folder: Path):
    """Quantised to what it is already, every tensor is copied: the same bytes."""
    first, second = tmp_path / "a.gguf", tmp_path / "b.gguf"
    quantize_file(folder, "Q4_K_M", first)
    change = quantize_file(first, "Q4_K_M", second)
    assert ex.diff(first, second).identical
    assert change.relative_error is None
    a, b = gguf.GGUFReader(first), gguf.GGUFReader(second)
    assert [t.data.tobytes() for t in a.tensors] == [t.data.tobytes() for t in b.tensors]
    assert a.fields.keys() == b.fields.keys()


def test_quantised_again(tmp_path: Path, folder: Path):
    ex.save(folder, tmp_path / "a.gguf", dtype="bfloat16")
    quantize_file(tmp_path / "a.gguf", "Q8_0", tmp_path / "b.gguf")
    text = printed(
        "quantize", tmp_path / "b.gguf", "--to", "Q4_0", "-o", tmp_path / "c.gguf"
    )
    assert "quantised again from q8_0: losses add up" in " ".join(text.split())
    [tensor] = [
        t for t in gguf.GGUFReader(tmp_path / "c.gguf").tensors if "blk.0.ffn_up" in t.name
    ]
    [source] = [
        t for t in gguf.GGUFReader(tmp_path / "b.gguf").tensors if "blk.0.ffn_up" in t.name
    ]
    rows = gguf.dequantize(source.data, source.tensor_type)
    expected = gguf.quantize(rows, gguf.GGMLQuantizationType.Q4_0)
    np.testing.assert_array_equal(tensor.data, expected)
    np.testing.assert_array_equal(
        decode(np.array(tensor.data), "q4_0", 256),
        gguf.dequantize(tensor.data, tensor.tensor_type),
    )


def test_weights_that_are_not_finite(tmp_path: Path):
    tensors = checkpoint(LLAMA)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = np.nan
    tensors["model.layers.1.mlp.up_proj.weight"][4, 5] = -np.inf
    ex.save(from_tensors(LLAMA, tensors)[1], tmp_path / "hf", config=LLAMA)
    done = run("quantize", tmp_path / "hf", "--to", "Q4_0", "-o", tmp_path / "a.gguf")
    assert (done.returncode, done.stdout) == (2, "")
    assert "blk.1.ffn_up.weight holds NaN at [3, 5]; expected finite weights" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


SLIPS = {
    ("--to", "Q4_KM"): "did you mean Q4_K_M",
    ("--to", "IQ2_XXS"): "explorer does not encode iq2_xxs",
}


@pytest.mark.parametrize("words", SLIPS)
def test_slips(tmp_path: Path, folder: Path, words: tuple[str, ...]):
    done = run("quantize", folder, *words, "-o", tmp_path / "a.gguf")
    assert (done.returncode, done.stdout) == (2, "")
    assert SLIPS[words] in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_it_asks_for(folder: Path):
    assert run("quantize", folder, "--to", "Q4_0").returncode == 2
    done = run("quantize", folder, "--to", "Q4_0", "--plan", "-o", "a.gguf")
    assert "give either --plan or -o OUT" in done.stderr


def test_what_is_quantised_already(tmp_path: Path):
    config = LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    save_file({"a.qweight": np.zeros((4, 8), "int32")}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = run("quantize", tmp_path, "--to", "Q4_0", "-o", tmp_path / "a.gguf")
    assert "is quantised already (gptq)" in done.stderr


def test_no_architecture(tmp_path: Path):
    save_file({"a.weight": np.zeros((4, 32), "float32")}, tmp_path / "a.safetensors")
    done = run(
        "quantize", tmp_path / "a.safetensors", "--to", "Q4_0", "-o", tmp_path / "a.gguf"
    )
    assert "has no architecture" in done.stderr
    assert done.returncode == 2
