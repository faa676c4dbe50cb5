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
