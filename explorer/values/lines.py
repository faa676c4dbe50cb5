"""An array -> its rows and columns that are zeros, equal to others, or far from the others."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from explorer.formats.pieces import Pieces
from explorer.values.channels import AxisLines, lines_of
from explorer.values.records import LineStatistics
from explorer.values.structure import outlier_channels

__all__ = ["line_statistics", "merged_lines"]


def line_statistics(array: Any, is_own: bool = False) -> LineStatistics | None:
    """Return what the rows and columns of an array hold; None of one without them.

    Rows are the slices along the first axis, columns those along the second of a matrix.

    Args:
        array: a NumPy or JAX array, or `Pieces`, which is decoded; one that is sharded comes to
            the host. Of one that other processes hold a part of, nothing is found.
        is_own: whether nothing else has seen it: pages of a mapped file are given back.

    >>> found = line_statistics(np.array([[1, 0, 2], [1, 0, 2], [3, 0, 3]]))
    >>> found.equal_rows, found.zero_columns, found.equal_columns
    (2, 1, 0)
    """
    if len(array.shape) < 2 or 0 in array.shape:
        return None
    if not getattr(array, "is_fully_addressable", True):
        return None
    whole = array.whole() if isinstance(array, Pieces) else np.asarray(array)
    rows = np.ascontiguousarray(whole).reshape(whole.shape[0], -1)
    of_rows, of_columns = lines_of(rows, is_own)
    if whole.ndim > 2:
        of_columns = AxisLines(1, 0, *2 * (np.zeros(0, np.int64),))
    outliers = {0: (), 1: ()}
    if whole.dtype.kind not in "iub":
        outliers |= {each.axis: each.channels for each in outlier_channels(rows, is_own)}
    return LineStatistics(
        rows=of_rows.number,
        zero_rows=of_rows.zeros.size,
        equal_rows=of_rows.equal.size,
        outlier_rows=outliers[0],
        columns=of_columns.number,
        zero_columns=of_columns.zeros.size,
        equal_columns=of_columns.equal.size,
        outlier_columns=outliers[1] if whole.ndim == 2 else (),
    )


def merged_lines(several: Iterable[LineStatistics | None]) -> LineStatistics | None:
    """Return what the rows and columns of several arrays hold; outliers of any of them.

    >>> one = LineStatistics(rows=2, zero_rows=1, outlier_columns=(5,))
    >>> two = LineStatistics(rows=2, outlier_columns=(3, 5))
    >>> both = merged_lines([one, None, two])
    >>> both.rows, both.zero_rows, both.outlier_columns
    (4, 1, (3, 5))
    """
    known = [each for each in several if each is not None]
    if not known:
        return None

    def merged(name: str) -> Any:
        values = [getattr(each, name) for each in known]
        if name.startswith("outlier"):
            return tuple(sorted(set().union(*values)))
        return sum(values)

    return LineStatistics(
        **{name: merged(name) for name in LineStatistics.__struct_fields__}
    )
