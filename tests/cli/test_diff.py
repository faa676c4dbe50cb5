"""`explorer diff` and `explorer digest`: what they print, how they exit, one line an error."""

import json
from pathlib import Path
from typing import get_args

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from explorer.values.differences import Verdict
from tests.cli.in_process import printed, run

RNG = np.random.default_rng(0)
ARRAYS = {
    "layer.0.weight": RNG.standard_normal((64, 48)).astype(np.float32),
    "layer.1.weight": RNG.standard_normal((64, 48)).astype(np.float32),
    "norm.weight": np.ones(48, np.float32),
}
FIELDS = {"name", "verdict", "max_abs", "mean_abs", "relative_l2", "cosine", "changed", "first_index"}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """One file, and files that differ from it in a way each."""
    one = {name: array.copy() for name, array in ARRAYS.items()}
    one["layer.1.weight"][17, 5] += 0.25
    more = {**ARRAYS, "added.bias": np.zeros(3, np.float32)}
    del more["norm.weight"]
    changed = {
        "same": ARRAYS,
        "one": one,
        "more": more,
        "bf16": {name: array.astype(ml_dtypes.bfloat16) for name, array in ARRAYS.items()},
    }
    paths = {"a": tmp_path / "a.safetensors"}
    save_file(ARRAYS, paths["a"])
    for name, arrays in changed.items():
        paths[name] = tmp_path / f"{name}.safetensors"
        save_file(arrays, paths[name])
    paths["npz"] = tmp_path / "a.npz"
    np.savez(
        paths["npz"], **{name.replace(".", "/"): array for name, array in ARRAYS.items()}
    )
    return paths


def test_identical_files(files: dict[str, Path]):
    for other in ("a", "same", "npz"):
        assert "identical: 3 tensors, every bit" in printed(
            "diff", files["a"], files[other]
        )


def test_one_number_is_named(files: dict[str, Path]):
    done = run("diff", files["a"], files["one"])
    assert (done.returncode, done.stderr) == (1, "")
    assert "1 different, 2 identical" in done.stdout
    (row,) = [
        line for line in done.stdout.splitlines() if line.startswith("layer/1/weight")
    ]
    assert "[17, 5]" in row
    assert "0.25" in row
    assert "layer/0" not in done.stdout


def test_the_contract_of_json(files: dict[str, Path]):
    done = run("diff", files["a"], files["one"], "--format", "json")
    found = json.loads(done.stdout)
    assert found["identical"] is False
    assert all(set(each) >= FIELDS for each in found["tensors"])
    assert {each["verdict"] for each in found["tensors"]} <= set(get_args(Verdict))
    first = found["tensors"][0]
    assert (first["name"], first["changed"], first["first_index"]) == (
        "layer/1/weight",
        1,
        [17, 5],
    )
    assert first["max_abs"] == pytest.approx(0.25, rel=1e-5)
    found = json.loads(printed("diff", files["a"], files["npz"], "--format", "json"))
    assert found["identical"] is True


def test_tolerance_decides_the_exit_code(files: dict[str, Path]):
    a = files["a"]
    assert run("diff", a, files["one"], "--atol", "0.2").returncode == 1
    done = run("diff", a, files["one"], "--atol", "0.26")
    assert done.returncode == 0
    assert "all within the tolerance" in done.stdout
    done = run("diff", a, files["bf16"])
    assert (done.returncode, "rounding (bfloat16)" in done.stdout) == (1, True)
    assert run("diff", a, files["bf16"], "--rtol", "0.00390625").returncode == 0


def test_no_exit_code_prints_the_same_and_exits_with_0(
    files: dict[str, Path], tmp_path: Path
):
    texts = []
    for name in ("a", "one"):
        texts.append(tmp_path / f"{name}.txt")
        texts[-1].write_text(printed("digest", files[name]))
    for words in ((files["a"], files["one"]), ("--digests", *texts)):
        asked, not_asked = run("diff", *words), run("diff", *words, "--no-exit-code")
        assert (asked.returncode, not_asked.returncode) == (1, 0)
        assert asked.stdout == not_asked.stdout
        assert "1 different" in asked.stdout


def test_missing_and_added(files: dict[str, Path]):
    done = run("diff", files["a"], files["more"], "--atol", "100")
    assert done.returncode == 1
    assert "1 missing, 1 added, 2 identical" in done.stdout


def test_rows_for_other_programs(files: dict[str, Path]):
    done = run("diff", files["a"], files["one"], "--format", "csv")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("name,verdict,")
    assert len(lines) == 4


def test_equal_layers_share_a_row_where_many_differ(tmp_path: Path):
    rng = np.random.default_rng(0)
    a = {f"layer.{i}.{part}": rng.standard_normal(8) for i in range(20) for part in "xy"}
    b = {name: array + 1 for name, array in a.items()}
    b["layer.3.x"] = a["layer.3.x"].astype(np.float32)
    for name, arrays in (("a", a), ("b", b)):
        save_file(arrays, tmp_path / f"{name}.safetensors")
    text = run("diff", tmp_path / "a.safetensors", tmp_path / "b.safetensors").stdout
    assert "1 rounding, 39 different" in text or "39 different, 1 rounding" in text
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("layer/")]
    assert set(rows) == {"layer/[0-2,4-19]/x", "layer/[0-19]/y", "layer/3/x"}


def test_names_are_matched_by_option(files: dict[str, Path], tmp_path: Path):
    other = tmp_path / "b.safetensors"
    renamed = {
        "block.0.weight": ARRAYS["layer.0.weight"],
        "block.1.weight": ARRAYS["layer.1.weight"],
        "norm.weight": ARRAYS["norm.weight"],
    }
    save_file(renamed, other)
    assert run("diff", files["a"], other, "--match", "layer=block").returncode == 0
    done = run("diff", files["a"], other, "--match", "layer")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--match layer is not NAME=OTHER" in done.stderr


def test_digests_of_two_formats_are_compared_as_text(
    files: dict[str, Path], tmp_path: Path
):
    texts = {
        name: tmp_path / f"{name}.txt" for name in ("a", "npz", "one", "more", "blake2b")
    }
    for name in ("a", "npz", "one", "more"):
        texts[name].write_text(printed("digest", files[name]))
    texts["blake2b"].write_text(printed("digest", files["a"], "--hash", "blake2b"))
    assert texts["a"].read_text() == texts["npz"].read_text()
    lines = texts["a"].read_text().splitlines()
    assert [line.split("  ")[1:] for line in lines] == [
        ["float32", "64x48", "layer/0/weight"],
        ["float32", "64x48", "layer/1/weight"],
        ["float32", "48", "norm/weight"],
    ]
    assert printed("diff", "--digests", texts["a"], texts["npz"]) == "3 identical\n"
    done = run("diff", "--digests", texts["a"], texts["one"])
    assert (done.returncode, done.stdout) == (1, "different  layer/1/weight float32[64, 48]\n1 different, 2 identical\n")  # fmt: skip
    done = run("diff", "--digests", texts["a"], texts["more"], "--format", "json")
    found = json.loads(done.stdout)
    assert [each["verdict"] for each in found["tensors"]] == ["missing", "added"]
    done = run("diff", "--digests", texts["a"], texts["blake2b"])
    assert (done.returncode, done.stdout) == (2, "")
    done = run("diff", "--digests", texts["a"], texts["a"], "--atol", "1")
    assert done.returncode == 2


def test_digest_of_a_selection(files: dict[str, Path]):
    assert (
        len(printed("digest", files["a"], "--select", "layer/*/weight").splitlines()) == 2
    )
    done = run("digest", files["a"], "--select", "nothing/*")
    assert (done.returncode, done.stdout) == (2, "")


def test_errors_are_one_line(files: dict[str, Path], tmp_path: Path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(files["a"].read_bytes()[:-4])
    text = tmp_path / "a.txt"
    text.write_text("not a digest\n")
    for words in (
        ("diff", files["a"], broken),
        ("diff", broken, files["a"]),
        ("diff", files["a"], "gpt2"),
        ("diff", files["a"], tmp_path / "nothing"),
        ("diff", "--digests", text, text),
        ("diff", files["a"], files["a"], "--rtol", "-1"),
        ("digest", broken),
        ("digest", "gpt2"),
    ):
        done = run(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert done.stderr.count("\n") == 1, words


def test_two_empty_lists_of_digests_are_bad_input(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).write_text("")
    done = run("diff", "--digests", tmp_path / "a", tmp_path / "b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no hash" in done.stderr


def test_two_sides_without_tensors(tmp_path: Path):
    save_file({}, tmp_path / "a.safetensors")
    same = ("diff", tmp_path / "a.safetensors", tmp_path / "a.safetensors")
    assert "nothing to compare" in printed(*same)
