"""Rows of records -> a data frame of pandas whose columns keep their kinds."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from explorer.errors import MissingPackageError

__all__ = ["column_type", "frame_of"]

_LARGEST = 2**63  # integers of pandas end below it


def frame_of(rows: Sequence[dict[str, Any]], kind: str) -> Any:
    """Return rows of equal fields as a data frame of pandas, which is imported here alone.

    Integers stay integers where some are missing, and those that 64 bits do not hold stay
    exact, as Python's own. What is missing is `pandas.NA`; lists and dicts stay as they are.

    Args:
        rows: the records, as dicts of equal fields.
        kind: what a row is, the name of the index.

    Raises:
        MissingPackageError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise MissingPackageError(
            "to_pandas",
            found="needs pandas, which is not installed",
            cure="pip install pandas",
        ) from None
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        dtype = column_type(values)
        if dtype == "object":
            values = [pandas.NA if value is None else value for value in values]
        columns[name] = pandas.Series(values, dtype=dtype)
    frame = pandas.DataFrame(columns)
    frame.index.name = kind
    return frame


def column_type(values: Sequence[Any]) -> str:
    """Return the dtype of pandas that holds values as they are; None is what is missing.

    >>> column_type([1, 2]), column_type([1, None]), column_type([1, 2.5]), column_type([2**70])
    ('int64', 'Int64', 'float64', 'object')
    >>> column_type(["a", None]), column_type([True]), column_type([[4, 3]]), column_type([None])
    ('string', 'bool', 'object', 'object')
    """
    kinds = {type(value) for value in values if value is not None}
    missing = any(value is None for value in values)
    if kinds == {bool}:
        return "boolean" if missing else "bool"
    if kinds == {int}:
        if any(not -_LARGEST <= value < _LARGEST for value in values if value is not None):
            return "object"
        return "Int64" if missing else "int64"
    if kinds and kinds <= {int, float}:
        return "Float64" if missing else "float64"
    return "string" if kinds == {str} else "object"
