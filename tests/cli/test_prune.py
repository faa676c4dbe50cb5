"""prune: plans, what would change, and slips in one line."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from tests.cli.in_process import printed, run
from tests.conformance.configs import LLAMA


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("llama")
    model = ex.build_model(LLAMA)
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))["params"]
    tensors = ex.to_checkpoint(params, LLAMA)
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(arrays, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(LLAMA))
    return place


def test_a_plan_needs_no_weights():
    found = json.loads(
        printed("prune", "llama-3.1-8b", "--pattern", "2:4", "--plan", "--format", "json")
    )
    assert found["parameters"] == found["trainable_parameters"] == 8_030_261_248
    assert found["stored_bytes"] == 16_060_522_496
    assert found["bits_per_weight"] == 16
    assert found["by_type"] == {"bfloat16": 16_060_522_496}
    assert (
        found["zeros"] == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) // 2
    )


def test_a_plan_of_fewer_units():
    words = (
        "prune",
        "llama-3.1-8b",
        "--pattern",
        "rows:0.25",
        "--plan",
        "--format",
        "json",
    )
    found = json.loads(printed(*words))
    assert found["before"]["parameters"] == 8_030_261_248
    assert found["parameters"] == 8_030_261_248 - 32 * 3 * 4096 * 14336 // 4


def test_what_would_change(folder: Path):
    found = json.loads(printed("prune", folder, "--pattern", "0.25", "--format", "json"))
    kernels = [t for t in found["tensors"] if t["zeros"] is not None]
    assert len(kernels) == 14
    assert found["zeros"] == sum(t["parameters_before"] // 4 for t in kernels)
    assert 0 < found["relative_error"] < 0.2
    rows = printed("prune", folder, "--pattern", "0.25", "--format", "csv").splitlines()
    assert len(rows) == 1 + len(found["tensors"])
    lines = printed("prune", folder, "--pattern", "0.25").splitlines()
    assert lines[0].endswith("prune 0.25 by magnitude")


def test_units_of_a_checkpoint_go(folder: Path):
    words = (
        "prune",
        folder,
        "--pattern",
        "heads:0.5",
        "--by",
        "random",
        "--format",
        "json",
    )
    found = json.loads(printed(*words))
    assert found["parameters"] == found["before"]["parameters"] - 2 * (
        2 * 32 * 16 + 2 * 32 * 8
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pattern", "hedas:0.5"], "pattern: 'hedas:0.5'; .*did you mean heads:0.5?"),
        (["--pattern", "2:4", "--by", "wanda"], "'wanda' without calibration data"),
        (["--pattern", "3:7"], "inputs, which groups of 7 do not divide"),
        (["--pattern", "0.5", "--by", "magnitud"], "did you mean magnitude?"),
        (["--pattern", "0.5", "--select", "nothing"], "has no kernel that nothing matches"),
        (
            ["--pattern", "0.5", "-o", "/"],
            "/: exists already, as a folder; expected a name",
        ),
        (["--pattern", "0.5", "--plan", "-o", "x"], "--plan writes nothing: leave -o out"),
        (["--pattern", "2:4", "--by", "wanda", "--calibrate", "none.txt"], "none.txt: "),
    ],
)
def test_slips_in_one_line(folder: Path, words: list[str], message: str):
    done = run("prune", folder, *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    import re

    assert re.search(message, done.stderr), done.stderr
