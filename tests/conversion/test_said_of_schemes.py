"""What is said of schemes: files that grow, options that conflict, groups that do not divide."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from explorer.api.writing import plan_quantisation, quantize_file
from explorer.cli.quantize import quantize
from explorer.errors import InputError
from explorer.sizing.weights.gguf_blocks import MIXES
from explorer.sizing.weights.parsing import parse_scheme
from explorer.sizing.weights.schemes import NAMES
from tests.cli.in_process import run
from tests.conversion.test_quantising_linear import LLAMA, TENSORS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in float32, and in Q4_0."""
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("said")
    (path / "model").mkdir()
    save_file(TENSORS, path / "model" / "model.safetensors")
    (path / "model" / "config.json").write_text(json.dumps(LLAMA))
    quantize_file(path / "model", "Q4_0:pure", path / "small.gguf")
    return path


def test_a_file_that_grows(folder: Path, tmp_path: Path):
    """Embedding and head, which nf4 leaves, are blocks in GGUF and floats in safetensors."""
    words = ("quantize", folder / "small.gguf", "--to", "nf4", "--like", folder / "model")
    written = run(*words, "-o", tmp_path / "new", "--format", "json")
    planned = run(
        "quantize", folder / "small.gguf", "--to", "nf4", "--plan", "--format", "json"
    )
    for done in (written, planned):
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["stored_bytes"] > found["before"]["stored_bytes"]
        [note] = [each for each in found["notes"] if each.startswith("larger than")]
        assert f"-> {found['stored_bytes']:,} bytes" in note
        assert "from q4_0 to float32" in note
    sizes = [json.loads(done.stdout)["by_type"] for done in (written, planned)]
    assert sizes[0]["float32"] == sizes[1]["float32"]


def test_more_bits_than_before(folder: Path, tmp_path: Path):
    change = quantize_file(folder / "small.gguf", "Q8_0", tmp_path / "new.gguf")
    assert "larger than the source" in change.notes[0]
    smaller = quantize_file(folder / "model", "Q8_0", tmp_path / "other.gguf")
    assert not any("larger" in note for note in smaller.notes)


@pytest.mark.parametrize(
    ("scheme", "both"),
    [
        ("int8:tensor:channel", "scales: tensor and channel"),
        ("nf4:g64:g128", "scales: g64 and g128"),
        ("int4:channel:g64", "scales: channel and g64"),
        ("fp8:block:tensor", "scales: block and tensor"),
        ("int4:asym:sym", "zero points: asym and sym"),
        ("fp8:e4m3:e5m2", "formats: e4m3 and e5m2"),
        ("gptq:b4:b8", "bits: b4 and b8"),
    ],
)
def test_two_options_for_one_thing(scheme: str, both: str):
    with pytest.raises(InputError, match=f"{scheme} has two options for {both}"):
        parse_scheme(scheme)


def test_the_same_option_twice_is_one():
    assert parse_scheme("int4:g64:g64").options.group == 64


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("nf5", "did you mean nf4 or NVFP4?"),
        ("zzzz", "try Q4_K_M, Q8_0, nf4"),
        ("q4_k_x", "did you mean Q4_K_S or Q4_K_M or Q5_K_S?"),
    ],
)
def test_an_unknown_scheme_has_three_suggestions(name: str, nearest: str):
    with pytest.raises(InputError) as caught:
        parse_scheme(name)
    line = str(caught.value)
    assert nearest in line
    assert "expected one that `explorer quantize --help` lists" in line
    assert len(line) < 150


def test_the_help_lists_all():
    text = CliRunner().invoke(quantize, ["--help"]).output.replace(",", " ").split()
    assert not {*NAMES, *MIXES} - {word.rstrip(";:") for word in text}


def test_groups_that_do_not_divide(folder: Path, tmp_path: Path):
    """The plan is of a file, which cannot hold them; trees can, and the record says so."""
    import numpy as np

    import explorer as ex

    with pytest.raises(InputError, match="has 384 inputs, and int4 groups of 100"):
        plan_quantisation(folder / "model", "int4:g100")
    with pytest.raises(InputError, match="no groups of 100 in"):
        quantize_file(folder / "model", "int4:g100", tmp_path / "new")
    kernel = np.ones((130, 8), "float32")
    _, change = ex.quantize({"mlp": {"kernel": kernel}}, "int4:g100")
    assert any("1 tensor with a smaller last group" in note for note in change.notes)
    _, even = ex.quantize({"mlp": {"kernel": kernel}}, "int4:g65")
    assert not any("smaller last group" in note for note in even.notes)


def test_what_gguf_files_cannot_hold_has_a_cure(tmp_path: Path):
    from safetensors.numpy import save_file

    from tests.pretrained.test_round_trip import CONFIGS
    from tests.pretrained.tiny import checkpoint

    config = CONFIGS["google-bert/bert-base-uncased"]
    (tmp_path / "bert").mkdir()
    save_file(checkpoint(config), tmp_path / "bert" / "model.safetensors")
    (tmp_path / "bert" / "config.json").write_text(json.dumps(config))
    done = run("quantize", tmp_path / "bert", "--to", "F16", "-o", tmp_path / "a.gguf")
    assert done.returncode == 2
    assert (
        "`explorer convert IN OUT.gguf --names source` writes plain tensors" in done.stderr
    )
    words = ("convert", tmp_path / "bert", tmp_path / "b.gguf", "--names", "source")
    assert run(*words).returncode == 0
    words = ("quantize", tmp_path / "bert", "--to", "int8", "-o", tmp_path / "c")
    assert run(*words).returncode == 0


@pytest.mark.parametrize("scheme", ["mxfp4", "nvfp4"])
def test_four_bit_floats_are_run_in_bfloat16(scheme: str, folder: Path, tmp_path: Path):
    """compressed-tensors decodes them to it; in another dtype transformers' layers fail."""
    import explorer as ex

    change = quantize_file(folder / "model", scheme, tmp_path / "new")
    assert any("config.json names bfloat16" in note for note in change.notes)
    tree, _ = ex.quantize(ex.load_pretrained(folder / "model")[1], scheme)
    ex.save(tree, tmp_path / "tree", like=folder / "model")
    for name in ("new", "tree"):
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert config.get("dtype", config.get("torch_dtype")) == "bfloat16"


def test_packed_zero_points_are_said_not_to_load(folder: Path, tmp_path: Path):
    asymmetric = quantize_file(folder / "model", "int4:g64:asym", tmp_path / "a")
    plain = quantize_file(folder / "model", "int4:g64", tmp_path / "b")
    loads = [
        "transformers 5.23 does not load" in " ".join(c.notes) for c in (asymmetric, plain)
    ]
    assert loads == [True, False]
