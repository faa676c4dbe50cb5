"""What a check finds, each with its tensor and its place; sound weights pass."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.values.records import Finding
from tests.cli.in_process import run


def kernel(seed: int = 0, shape: tuple[int, ...] = (16, 8)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def findings(tree: dict) -> dict[str, Finding]:
    return {finding.kind: finding for finding in ex.check_values(tree).findings}


def with_element(value: float, index: tuple[int, int] = (3, 5)) -> np.ndarray:
    array = kernel()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("array", "kind", "index", "text"),
    [
        (with_element(np.nan), "nan", (3, 5), "1 NaN"),
        (with_element(-np.inf), "inf", (3, 5), "1 infinite"),
        (np.zeros((4, 4), np.float32), "zero", None, "all 16 elements are 0"),
        (np.full((4, 4), 0.5, np.float32), "constant", None, "all 16 elements are 0.5"),
    ],
)
def test_what_is_wrong_is_named(array: np.ndarray, kind: str, index: object, text: str):
    found = findings({"dense": {"kernel": array}})[kind]
    assert (found.tensor, found.index, found.text) == ("dense/kernel", index, text)
    assert found.is_wrong


def test_a_copy_that_nothing_ties_is_wrong_and_a_tied_one_is_not():
    table = kernel()
    copied = ex.check_values({"a": table, "b": table.copy()})
    assert not copied.is_sound
    assert copied.findings[0].text == "is the same as a, though nothing ties them"
    assert ex.check_values({"a": table, "b": table}).is_sound


def test_what_is_worth_knowing_is_not_wrong():
    rows = kernel(shape=(64, 8))
    rows[7] = 0
    rows[20] = rows[21]
    found = findings({"kernel": rows, "bias": np.zeros(8, np.float32)})
    assert (found["zero_rows"].index, found["equal_rows"].index) == ((7,), (20,))
    assert found["equal_rows"].text == "2 of 64 rows are equal to another one"
    assert not any(each.is_wrong for each in found.values())
    far = kernel(shape=(100, 1000))
    far[42, 17] = 1000
    assert findings({"kernel": far})["outlier"].index == (42, 17)
    small = kernel() * 1e-40
    assert "subnormal" in findings({"kernel": small})


def test_a_dtype_wider_than_its_values():
    for narrow, name in ((ml_dtypes.bfloat16, "bfloat16"), (np.float16, "float16")):
        wide = kernel().astype(narrow).astype(np.float32)
        assert name in findings({"kernel": wide})["wide_dtype"].text
    assert findings({"kernel": kernel()}) == {}


def test_the_command_exits_with_1_where_something_is_wrong(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"dense.weight": kernel(), "dense.bias": kernel(1, (8,))}, path)
    done = run("stats", "--check", path)
    assert (done.returncode, "nothing is wrong" in done.stdout) == (0, True)
    save_file({"dense.weight": with_element(np.nan)}, path)
    done = run("stats", "--check", path)
    assert done.returncode == 1
    assert "wrong  dense/weight  3,5    1 NaN" in done.stdout
    assert done.stderr == ""
