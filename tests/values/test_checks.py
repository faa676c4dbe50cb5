"""What a check finds, each with its tensor and its place; sound weights pass."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import explorer as ex
from explorer.values.arrays import NamedValues
from explorer.values.channels import lines_of
from explorer.values.checks import check_arrays
from explorer.values.narrower import narrower_format
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


@pytest.mark.parametrize(
    ("dtype", "narrow", "share"),
    [
        (np.float64, np.float32, "half"),
        (np.float64, ml_dtypes.bfloat16, "a quarter of"),
        (np.float32, ml_dtypes.float8_e4m3fn, "a quarter of"),
        (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, "half"),
        (np.float16, ml_dtypes.float8_e4m3fn, "half"),
        (np.int32, np.int8, "a quarter of"),
        (np.int64, np.int16, "a quarter of"),
    ],
)
def test_the_narrowest_format_that_holds_every_number(
    dtype: type, narrow: type, share: str
):
    """What NumPy and ml_dtypes round to the narrow format and back is the same."""
    large = 2**12 if narrow is ml_dtypes.float8_e5m2 else 20
    small = (kernel() * large).astype(narrow)
    if np.dtype(narrow).kind == "i":
        small[0, 0] = np.iinfo(narrow).max
    wide = small.astype(dtype)
    assert (wide.astype(narrow).astype(dtype) == wide).all()
    name = np.dtype(narrow).name
    found = narrower_format(wide, float(wide.min()), float(wide.max()))
    assert found == name
    (named,) = check_arrays("one", [NamedValues("kernel", wide, wide.dtype.name)]).findings[
        -1:
    ]
    assert named.text == f"every element is exact in {name}, which takes {share} the bytes"
    wide = wide.copy()
    wide[3, 3] = 2**30 + 1 if dtype in (np.int32, np.int64) else 1.337
    if np.dtype(narrow).itemsize * 2 == np.dtype(dtype).itemsize and dtype != np.float64:
        assert narrower_format(wide, float(wide.min()), float(wide.max())) == ""


def test_columns_of_zeros_and_equal_columns():
    array = kernel(shape=(64, 9))
    array[:, 4] = 0
    array[:, 7] = array[:, 2]
    found = findings({"kernel": array})
    assert found["zero_columns"].text == "1 of 9 columns are 0, the first of them 4"
    text = "2 of 9 columns are equal to another one, the first of them 2"
    assert found["equal_columns"].text == text
    assert found.keys().isdisjoint({"zero_rows", "equal_rows"})
    turned = findings({"kernel": array.T.copy()})
    assert (turned["zero_rows"].index, turned["equal_rows"].index) == ((4,), (2,))


@given(st.integers(0, 10**6), st.sampled_from([np.float32, np.float64, np.int16]))
@settings(max_examples=40, deadline=None)
def test_lines_are_those_that_numpy_finds(seed: int, dtype: type):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-1, 2, rng.integers(1, 7, 2)).astype(dtype)
    for lines, along in zip(lines_of(matrix), (matrix, matrix.T), strict=True):
        zeros = [i for i, line in enumerate(along) if not line.any()]
        same = [
            [j for j, other in enumerate(along) if (line == other).all()] for line in along
        ]
        equal = [i for i, line in enumerate(along) if line.any() and len(same[i]) > 1]
        assert (lines.zeros.tolist(), lines.equal.tolist()) == (zeros, equal)


@pytest.mark.parametrize("scale", [1000, 1e-3])
def test_a_layer_far_from_its_equals(scale: float):
    layers = {f"layers_{i}": {"kernel": kernel(i)} for i in range(8)}
    assert ex.check_values(layers).findings == ()
    layers["layers_5"]["kernel"] = np.float32(scale) * layers["layers_5"]["kernel"]
    (found,) = ex.check_values(layers).findings
    assert (found.kind, found.tensor, found.is_wrong) == (
        "layer_scale",
        "layers_5/kernel",
        False,
    )
    sizes = [
        np.sqrt(np.mean(each["kernel"].astype(float) ** 2)) for each in layers.values()
    ]
    times = sizes[5] / np.median(sizes)
    assert found.times == pytest.approx(max(times, 1 / times))


def test_vectors_that_are_the_same_are_a_note():
    bias = kernel(shape=(16,))
    (found,) = ex.check_values({"a": bias, "b": bias.copy()}).findings
    assert (found.kind, found.tensor, found.is_wrong) == ("duplicate", "b", False)


def test_a_tied_head_that_is_stored_with_other_numbers(tmp_path: Path):
    """`tie_word_embeddings` makes a model use the embedding, whatever the file's head holds."""
    table = kernel(shape=(40, 16))
    other = table.copy()
    other[3, 2] = np.nan
    config = {"model_type": "llama", "tie_word_embeddings": True, "vocab_size": 40}
    (tmp_path / "config.json").write_text(json.dumps(config))
    names = ("model.embed_tokens.weight", "lm_head.weight")
    place = tmp_path / "model.safetensors"
    save_file(dict(zip(names, (table, other), strict=True)), place)
    done = run("stats", "--check", tmp_path)
    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "wrong lm_head/weight 3,2 1 NaN" in lines
    text = "is tied to model/embed_tokens/weight, and is stored with other numbers"
    assert f"wrong lm_head/weight {text}" in lines
    save_file(dict(zip(names, (table, table), strict=True)), place)
    assert ex.check_values(tmp_path).findings == ()
    described = ex.describe(tmp_path)
    assert described.totals.count == table.size
    note = "lm_head/weight: stored, and tied to model/embed_tokens/weight: left out"
    assert note in described.notes


def test_what_is_not_checked_is_said(tmp_path: Path):
    found = ex.check_values({"a": np.ones(3, np.complex64), "b": kernel()})
    assert found.notes == ("a (complex64) is not of real numbers: not checked",)
    save_file({}, tmp_path / "empty.safetensors")
    done = run("stats", "--check", tmp_path / "empty.safetensors")
    assert "0 tensors, 0 numbers: there is nothing to check" in done.stdout
    assert "1 tensor, 128 numbers: nothing is wrong" in str(
        ex.check_values({"b": kernel()})
    )


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
