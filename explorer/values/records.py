"""The records of values: what the numbers of one tensor, of several, look like."""

from typing import Literal

import msgspec

__all__ = [
    "Description",
    "Finding",
    "GroupStatistics",
    "Statistics",
    "TensorStatistics",
    "ValueCheck",
]


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What numbers look like; infinities and NaN are counted, all other figures leave them out.

    Attributes:
        count: elements in all.
        finite: elements that are neither NaN nor infinite.
        min, max, mean, std, rms: of the finite elements; None where there are none. The
            deviation is that of the population (divided by `finite`).
        l1, l2: sum of magnitudes; root of the sum of squares.
        zeros, subnormals, nan, inf: how many elements are such.
        first_nan, first_inf: index of the first one in row-major order; None without one.
        quantiles: by share in percent, of the finite elements, as order statistics.
        quantile_error: bound of their relative error; 0 where they are exact.
        histogram: elements by the exponent e of their magnitude, from 2^e up to 2^(e + 1);
            zeros, subnormals, NaN and infinities are not in it.
    """

    count: int
    finite: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    rms: float | None
    l1: float
    l2: float
    zeros: int
    subnormals: int
    nan: int
    inf: int
    first_nan: int | None
    first_inf: int | None
    quantiles: dict[str, float]
    quantile_error: float
    histogram: dict[int, int]


class TensorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of one tensor, with its name, its key in the source, dtype and shape."""

    name: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    statistics: Statistics


class GroupStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of tensors whose names differ in numbers alone, together."""

    name: str
    dtype: str
    tensors: int
    statistics: Statistics


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What `describe` finds.

    Attributes:
        target: what was described.
        tensors: each tensor of numbers, in the source's order.
        groups: of tensors whose names differ in numbers alone, together.
        totals: of all parameters together: buffers and other state are left out.
        notes: what was left out, and why.
    """

    target: str
    tensors: tuple[TensorStatistics, ...]
    groups: tuple[GroupStatistics, ...]
    totals: Statistics
    notes: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line about one tensor.

    Attributes:
        tensor: its name.
        kind: what was found.
        index: where, in the tensor's own axes; None for the whole of it.
        text: in words.
        is_wrong: whether a model can hardly be meant to be so.
    """

    tensor: str
    kind: Literal[
        "nan", "inf", "zero", "constant", "duplicate", "zero_rows", "equal_rows", "outlier",
        "subnormal", "wide_dtype",
    ]  # fmt: skip
    index: tuple[int, ...] | None
    text: str
    is_wrong: bool


class ValueCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of values found, and in how many tensors it looked."""

    target: str
    tensors: int
    elements: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.is_wrong for finding in self.findings)
