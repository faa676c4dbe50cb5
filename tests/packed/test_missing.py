"""Codes without their scales are never given out as weights: one line names what is missing."""

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

import explorer as ex
from explorer.errors import FormatError
from tests.conversion.quantised_folders import write_folders

QUERY = "model.layers.0.self_attn.q_proj."
STATE = "weight.quant_state.bitsandbytes__nf4"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as it is, and quantised by three schemes."""
    return write_folders(tmp_path_factory.mktemp("missing"))


@pytest.mark.parametrize(
    ("scheme", "codes", "part"),
    [
        ("nf4", "weight", "weight.absmax"),
        ("nf4", "weight", "weight.quant_map"),
        ("nf4", "weight", STATE),
        ("int4", "weight_packed", "weight_scale"),
        ("int4", "weight_packed", "weight_shape"),
        ("int8", "weight", "SCB"),
    ],
)
@pytest.mark.parametrize("every", [False, True])
def test_what_is_missing_is_named(
    scheme: str, codes: str, part: str, every: bool, folders: Path, tmp_path: Path
):
    folder = tmp_path / "model"
    shutil.copytree(folders / scheme, folder)
    tensors = load_file(folder / "model.safetensors")
    gone = [n for n in tensors if n.endswith(part) and (every or n == f"{QUERY}{part}")]
    save_file(
        {n: a for n, a in tensors.items() if n not in gone}, folder / "model.safetensors"
    )
    layer = min(gone).removesuffix(part)
    for read in (ex.load, ex.load_pretrained):
        with pytest.raises(FormatError) as caught:
            read(folder)
        assert f"{layer}{codes} holds codes" in str(caught.value)
        assert f"{layer}{part} is missing" in str(caught.value)


def test_tensors_without_codes_are_read_all_the_same(folders: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(folders / "int8", folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors[f"{QUERY}SCB"]
    save_file(tensors, folder / "model.safetensors")
    found = ex.load(folder, select="**/k_proj/weight")
    assert found["model"]["layers"]["0"]["self_attn"]["k_proj"]["weight"].dtype == "float32"
