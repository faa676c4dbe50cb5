"""compare: structures, as a table with equal layers folded."""

import json

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

import explorer as ex
from tests.cli.in_process import printed, run


def layers(number: int, width: int) -> dict[str, np.ndarray]:
    return {f"h.{n}.kernel": np.zeros((width, 2), np.float32) for n in range(number)}


def test_the_table_of_a_comparison(tmp_path):
    save_file(layers(3, 4), tmp_path / "a.safetensors")
    wider = {**layers(4, 5), "head.bias": np.zeros(2, np.float16)}
    save_file(wider, tmp_path / "b.safetensors")
    done = run("compare", tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line]
    assert (
        lines[1]
        == "A has 24 parameters (96 B), B has 42 parameters (164 B): +18 (+75.0%), +68 B"
    )
    assert (
        "h/[0-2] -> [0-3] [4, 2] float32 -> [5, 2] float32 24 40 +16 96 B 160 B +64 B"
        in lines
    )
    assert "total 24 42 +18 96 B 164 B +68 B" in lines
    assert lines[-5:] == [
        "2 added, 3 reshaped, 0 unchanged",
        "change tensor tensors before after",
        "added h/3/kernel float32[5, 2]",
        "added head/bias float16[2]",
        "reshaped h/[0-2]/kernel 3 float32[4, 2] float32[5, 2]",
    ]
    same = printed("compare", tmp_path / "a.safetensors", tmp_path / "a.safetensors")
    assert same.splitlines()[-1] == "3 unchanged"
    args = ("compare", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--format")
    found = json.loads(run(*args, "json").stdout)
    assert (found["identical"], found["unchanged"], len(found["changes"])) == (False, 0, 5)
    (bias,) = [each for each in found["changes"] if each["after"] == "head/bias"]
    assert (bias["change"], bias["shape_before"], bias["shape_after"]) == (
        "added",
        None,
        [2],
    )
    assert len(run(*args, "csv").stdout.splitlines()) == 6


def test_str_of_a_comparison_is_the_table():
    a = {"layer_0": {"w": jnp.zeros(2)}, "layer_1": {"w": jnp.zeros(2)}}
    b = {"layer_0": {"w": jnp.zeros(3)}, "layer_1": {"w": jnp.zeros(3)}}
    lines = str(ex.compare(a, b)).splitlines()
    assert lines[0] == "2 reshaped, 0 unchanged"
    row = "reshaped layer_[0-1]/w 2 float32[2] float32[3]"
    assert lines[-1].split() == row.split()
