"""merge: as `combine_models` combines them, and slips in one line."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import explorer as ex
from tests.cli.in_process import printed, run
from tests.conformance.configs import LLAMA


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place, model = tmp_path_factory.mktemp("models"), ex.build_model(LLAMA)
    found = []
    for seed, name in enumerate(("base", "a", "b")):
        params = model.init(jax.random.key(seed), jnp.zeros((1, 4), int))["params"]
        ex.save(params, place / name, config=LLAMA)
        found.append(place / name)
    return found


@pytest.mark.parametrize(
    ("method", "words", "options"),
    [
        ("average", ["--weights", "1,3"], {"weights": [1, 3]}),
        ("slerp", ["--weights", "0.25"], {"weights": 0.25}),
        ("ties", ["--density", "0.3"], {"density": 0.3}),
        ("dare", ["--seed", "5", "--scale", "0.5"], {"seed": 5, "scale": 0.5}),
    ],
)
def test_the_file_holds_what_python_returns(
    folders: list[Path], tmp_path: Path, method: str, words: list[str], options: dict
):
    base, *models = folders
    needs = method in ("ties", "dare")
    given = ["--base", base] if needs else []
    words = ["--method", method, *words, *given, "-o", tmp_path / "c", "--format", "json"]
    found = json.loads(printed("merge", *models, *words))
    tree, change = ex.combine_models(
        [*map(str, models)], method, base=str(base) if needs else None, **options
    )
    written = ex.load(tmp_path / "c")
    same = jax.tree.map(np.array_equal, tree, written)
    assert all(jax.tree.leaves(same))
    assert found["relative_error"] == pytest.approx(change.relative_error)
    assert (tmp_path / "c/config.json").exists()
    assert load_file(tmp_path / "c/model.safetensors").keys() == load_file(base / "model.safetensors").keys()  # fmt: skip
    raw = (tmp_path / "c/model.safetensors").read_bytes()[:4000]
    assert f"merge {method} of a, b".encode() in raw


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "tie"], "no method is called 'tie'; .*did you mean ties?"),
        (["--method", "ties"], "base: none, and ties adds changes to one"),
        (["--weights", "1,x"], "'1,x' is not a list of numbers such as 0.3,0.7"),
        (["--weights", "1,2,3"], "weights: 3 numbers; expected 2 numbers"),
        (["-o", "/"], "/: exists already, as a folder; expected a name that nothing has"),
    ],
)
def test_slips_in_one_line(
    folders: list[Path], tmp_path: Path, words: list[str], message: str
):
    done = run("merge", *folders[1:], "-o", tmp_path / "c", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(message, done.stderr), done.stderr
    assert not [*tmp_path.iterdir()]


def test_models_that_differ(folders: list[Path], tmp_path: Path):
    save_file({"w": np.ones(3, np.float32)}, tmp_path / "other.safetensors")
    done = run("merge", folders[1], tmp_path / "other.safetensors", "-o", tmp_path / "c")
    assert done.returncode == 2
    assert "lacks model/embed_tokens/weight" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_averaged_is_one_line(folders: list[Path], tmp_path: Path):
    _, first, second = folders
    tensors = load_file(second / "model.safetensors")
    name = next(n for n in tensors if n.endswith("up_proj.weight"))
    tensors[name][2, 1] = np.nan
    (tmp_path / "nan").mkdir()
    save_file(tensors, tmp_path / "nan/model.safetensors", {"format": "pt"})
    (tmp_path / "nan/config.json").write_text((second / "config.json").read_text())
    outcome = run("merge", first, tmp_path / "nan", "-o", tmp_path / "c")
    assert (outcome.returncode, outcome.stderr.count("\n")) == (2, 1)
    assert re.search(r"holds NaN at \[2, 1\] in model 2", outcome.stderr)
    assert not (tmp_path / "c").exists()
    with pytest.raises(ex.InputError, match="NaN at \\[0\\] in model 2"):
        ex.combine_models([[np.ones(1)], [np.full(1, np.nan)]])


def test_buffers_are_not_counted(tmp_path: Path):
    tensors = {
        "embeddings.position_ids": np.arange(4)[None],
        "encoder.layer.0.output.dense.weight": np.ones((4, 4), "f4"),
    }
    for name in ("a", "b"):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    words = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    options = ["-o", tmp_path / "c.safetensors", "--format", "json"]
    found = json.loads(printed("merge", *words, *options))
    assert found["parameters"] == ex.count_parameters(tmp_path / "c.safetensors") == 16
