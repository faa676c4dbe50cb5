"""Rows and columns that are zeros, equal or far from the others, against those that were put there."""

import csv
import io
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.values.records import LineStatistics
from tests.cli.in_process import printed

RNG = np.random.default_rng(7)


def planted(dtype: str = "float32") -> np.ndarray:
    """Return a matrix with two rows and a column of zeros, three equal rows, one large column."""
    matrix = RNG.standard_normal((24, 16)).astype(dtype)
    matrix[[3, 8]] = 0
    matrix[[5, 6, 7]] = matrix[5]
    matrix[:, 2] = 0
    matrix[:, 11] *= 100
    return matrix


RIGHT = LineStatistics(
    rows=24, zero_rows=2, equal_rows=3, columns=16, zero_columns=1, outlier_columns=(11,)
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_what_was_put_into_a_matrix_is_found(dtype: str):
    matrix = jnp.asarray(planted()).astype(dtype) if dtype == "bfloat16" else planted(dtype)
    for array in (matrix, np.asarray(matrix)):
        found = ex.describe({"kernel": array, "bias": np.ones(3)}, statistics="lines")
        lines = {each.name: each.lines for each in found.tensors}
        assert lines == {"kernel": RIGHT, "bias": None}


def test_of_tensors_of_more_axes_rows_are_slices():
    tensor = RNG.standard_normal((8, 3, 4, 5)).astype(np.float32)
    tensor[2] = 0
    tensor[4] = tensor[1]
    found = ex.describe({"kernel": tensor}, statistics="lines").tensors[0].lines
    assert found == LineStatistics(rows=8, zero_rows=1, equal_rows=2)


def test_layers_are_counted_together_and_only_when_asked_for(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save_file({f"h.{n}.kernel": planted() for n in range(3)}, path)
    assert ex.describe(path).tensors[0].lines is None
    first = ex.describe(path, statistics="lines", resume=tmp_path / "pass")
    again = ex.describe(path, statistics="lines", resume=tmp_path / "pass")
    assert first == again
    group = first.groups[0].lines
    assert group is not None
    assert (group.rows, group.zero_rows, group.outlier_columns) == (72, 6, (11,))
    text = printed("stats", path, "--lines")
    assert "rows: 6 zero, 9 equal; columns: 3 zero, outliers 11" in " ".join(text.split())
    rows = csv.DictReader(io.StringIO(printed("stats", path, "--lines", "--format", "csv")))
    assert json.loads(next(rows)["lines"])["equal_rows"] == 3
