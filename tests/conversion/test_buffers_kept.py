"""What a folder holds beside the parameters of its model is in every file that is made of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import explorer as ex
from tests.cli.in_process import run
from tests.pretrained.test_round_trip import CONFIGS
from tests.pretrained.tiny import checkpoint

BERT = CONFIGS["google-bert/bert-base-uncased"] | {"torch_dtype": "float32"}
POSITIONS = "embeddings.position_ids"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with the buffer that older checkpoints have, and adapters of it."""
    path = tmp_path_factory.mktemp("buffers") / "base"
    path.mkdir()
    tensors = checkpoint(BERT)
    prefix = "bert." if any(n.startswith("bert.") for n in tensors) else ""
    tensors |= {f"{prefix}{POSITIONS}": np.arange(64).reshape(1, 64)}
    save_file(tensors, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(BERT))
    model, params = ex.load_pretrained(path)
    adapters, _ = ex.add_lora(params, 2, "query", model=model)
    ex.save_lora(adapters, path.parent / "adapter", model=model)
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("lora", "merge", "BASE", "ADAPTER"),
        ("lora", "merge", "BASE", "ADAPTER", "--dtype", "float16"),
        ("prune", "BASE", "--pattern", "0.5"),
        ("merge", "BASE", "BASE"),
        ("convert", "BASE"),
        ("convert", "BASE", "--names", "hf"),
        ("quantize", "BASE", "--to", "int8"),
    ],
)
def test_names_and_buffers(words: tuple[str, ...], base: Path, tmp_path: Path):
    places = {"BASE": base, "ADAPTER": base.parent / "adapter"}
    given = [places.get(word, word) for word in words]
    out = [tmp_path / "new"] if words[0] == "convert" else ["-o", tmp_path / "new"]
    done = run(*given[:2], *out, *given[2:]) if words[0] == "convert" else run(*given, *out)
    assert done.returncode == 0, done.stderr
    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "new" / "model.safetensors")
    assert before.keys() <= after.keys()
    [name] = [each for each in before if each.endswith(POSITIONS)]
    np.testing.assert_array_equal(after[name], before[name])
    assert after[name].dtype == "int64"
