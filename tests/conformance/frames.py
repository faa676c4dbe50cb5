"""Records of explorer as data frames, with pandas itself: kinds, what is missing, exact integers.

python -m tests.conformance.frames     with pandas, and explorer without JAX
"""

import sys
from typing import Any

import pandas as pd

import explorer as ex
from explorer.document.frames import frame_of


def records() -> dict[str, Any]:
    """Return a public record of each kind that needs neither JAX nor values."""
    return {
        "ledger": ex.ledger("gpt2"),
        "summary": ex.summarize("gpt2", by="component"),
        "comparison": ex.compare("gpt2", "gpt2-medium"),
        "plan": ex.plan("llama-3.1-8b", context=4096),
        "sweep": ex.sweep("gpt2", {"batch": [1, 2]}),
        "explanation": ex.explain("gpt2", "bias"),
    }


def check_rows(name: str, record: Any) -> None:
    """Check that a frame has the record's rows, cell by cell, in columns of one kind."""
    rows, frame = record.to_rows(), record.to_pandas()
    assert list(frame.columns) == list(rows[0]), name
    assert len(frame) == len(rows), name
    assert frame.index.name, name
    for column in frame.columns:
        for row, cell in zip(rows, frame[column], strict=True):
            expected = row[column]
            if expected is None:
                assert cell is pd.NA, (name, column, cell)
            else:
                assert cell == expected, (name, column, cell, expected)
        values = [row[column] for row in rows if row[column] is not None]
        if values and all(type(value) is int and abs(value) < 2**63 for value in values):
            assert pd.api.types.is_integer_dtype(frame[column]), (name, column)
        if values and all(type(value) is str for value in values):
            assert pd.api.types.is_string_dtype(frame[column]), (name, column)


def check_kinds() -> None:
    """Check that integers stay integers beside what is missing, and large ones exact."""
    rows = [
        {"n": 1, "some": 2**62 + 1, "large": 2**70, "x": 0.5, "y": None, "word": "a", "is": True},
        {"n": 2, "some": None, "large": 1, "x": 1.0, "y": 2.5, "word": None, "is": False},
    ]  # fmt: skip
    frame = frame_of(rows, "row")
    found = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert found == {
        "n": "int64", "some": "Int64", "large": "object", "x": "float64", "y": "Float64",
        "word": "string", "is": "bool",
    }, found  # fmt: skip
    assert frame["some"][0] == 2**62 + 1  # a float has no such number
    assert frame["large"].sum() == 2**70 + 1
    assert frame["some"].isna().tolist() == [False, True]
    assert frame["word"][1] is pd.NA
    assert frame.index.name == "row"
    assert frame.reset_index().columns[0] == "row"
    assert "row,n,some" in frame.to_csv()


def main() -> None:
    check_kinds()
    for name, record in records().items():
        check_rows(name, record)
    total = ex.summarize("gpt2", by="component").to_pandas()["parameters"].sum()
    assert total == ex.count_parameters("gpt2"), total
    assert "jax" not in sys.modules
    print(
        f"pandas {pd.__version__}: {len(records())} kinds of records agree with their frames"
    )


if __name__ == "__main__":
    main()
