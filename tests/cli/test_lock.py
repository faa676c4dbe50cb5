"""lock and check in every form of --format: records of what differs, the same exit codes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.in_process import run

FORMS = (
    ("--format", "json"),
    ("--format", "csv"),
    ("--format", "md"),
    ("--md",),
    ("--csv",),
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two checkpoints and the locks of the first, of its structure and of its values."""
    old = {"kernel": np.ones((4, 3), "float32"), "bias": np.zeros(3, "float32")}
    new = {"kernel": np.ones((4, 2), "float32"), "bias": np.ones(3, "float32")}
    for name, arrays in (("old", old), ("new", new)):
        np.savez(tmp_path / f"{name}.npz", **arrays)  # pyright: ignore[reportArgumentType]
    (tmp_path / "params.lock").write_text(run("lock", tmp_path / "old.npz").stdout)
    values = run("lock", tmp_path / "old.npz", "--values").stdout
    (tmp_path / "values.lock").write_text(values)
    return tmp_path


def checked(files: Path, model: str, lock: str, *form: str):
    return run("check", files / f"{model}.npz", files / f"{lock}.lock", *form)


@pytest.mark.parametrize("lock", ["params", "values"])
@pytest.mark.parametrize("form", [(), *FORMS])
def test_the_exit_code_is_the_same_in_every_form(files: Path, lock: str, form: tuple):
    assert checked(files, "old", lock, *form).returncode == 0
    assert checked(files, "new", lock, *form).returncode == 1


@pytest.mark.parametrize("lock", ["params", "values"])
def test_without_a_difference_csv_still_has_its_header(files: Path, lock: str):
    same, differ = (
        checked(files, model, lock, "--format", "csv").stdout.splitlines()
        for model in ("old", "new")
    )
    assert same == differ[:1]
    assert same[0].startswith("change,before,after,dtype_before,shape_before")
    compared = run("compare", files / "old.npz", files / "old.npz", "--format", "csv")
    assert compared.stdout.splitlines()[0].startswith("change,before,after,")


def test_differences_of_structure_are_records(files: Path):
    found = json.loads(checked(files, "new", "params", "--json").stdout)
    assert (found["identical"], found["unchanged"]) == (False, 1)
    assert found["target"].endswith("new.npz")
    assert found["lock"].endswith("params.lock")
    (change,) = found["changes"]
    assert change == {
        "change": "reshaped", "before": "kernel", "after": "kernel",
        "dtype_before": "float32", "shape_before": [4, 3],
        "dtype_after": "float32", "shape_after": [4, 2],
    }  # fmt: skip
    (row,) = csv.DictReader(
        checked(files, "new", "params", "--format", "csv").stdout.split("\n")
    )
    assert row == {key: value if isinstance(value, str) else json.dumps(value) for key, value in change.items()}  # fmt: skip


def test_differences_of_values_are_records_of_the_same_fields(files: Path):
    found = json.loads(checked(files, "new", "values", "--json").stdout)
    assert (found["identical"], found["unchanged"]) == (False, 0)
    changes = {each["before"]: each for each in found["changes"]}
    assert {each["change"] for each in found["changes"]} == {"different"}
    assert (changes["kernel"]["shape_before"], changes["kernel"]["shape_after"]) == ([4, 3], [4, 2])  # fmt: skip
    locked = (files / "values.lock").read_text()
    assert f"{changes['bias']['hash_before']}  float32  3  bias" in locked
    assert changes["bias"]["hash_after"] != changes["bias"]["hash_before"]


def test_without_a_difference_the_list_is_empty(files: Path):
    for lock in ("params", "values"):
        found = json.loads(checked(files, "old", lock, "--json").stdout)
        assert (found["identical"], found["unchanged"], found["changes"]) == (True, 2, [])


def test_a_lock_has_records_too(files: Path):
    path = files / "old.npz"
    assert json.loads(run("lock", path, "--json").stdout) == [
        {"path": "kernel", "dtype": "float32", "shape": [4, 3]},
        {"path": "bias", "dtype": "float32", "shape": [3]},
    ]
    # in the order of the source; hashes by name
    hashes = [each["hash"] for each in json.loads(run("lock", path, "--values", "--json").stdout)]  # fmt: skip
    text = (files / "values.lock").read_text().splitlines()[1:]
    assert hashes == [line.split()[0] for line in text]
    assert run("lock", path, "--md").stdout.splitlines()[0] == "| path | dtype | shape |"
