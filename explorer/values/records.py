"""The records of values: what the numbers of one tensor, of several, look like."""

from typing import Literal

import msgspec

from explorer.document.exporting import Exportable

__all__ = [
    "Description",
    "Finding",
    "GroupStatistics",
    "LineStatistics",
    "MatrixSpectrum",
    "Spectrum",
    "Statistics",
    "StoredStatistics",
    "TensorStatistics",
    "ValueCheck",
    "place_name",
]


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What numbers look like; infinities and NaN are counted, all other figures leave them out.

    Attributes:
        count: elements in all.
        finite: elements that are neither NaN nor infinite.
        min, max, mean, std, rms: of the finite elements; None where there are none. The
            deviation is that of the population (divided by `finite`).
        l1, l2: sum of magnitudes; root of the sum of squares; None where float64 does not hold it.
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
    l1: float | None
    l2: float | None
    zeros: int
    subnormals: int
    nan: int
    inf: int
    first_nan: int | None
    first_inf: int | None
    quantiles: dict[str, float]
    quantile_error: float
    histogram: dict[int, int]


class LineStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows and columns are special; rows are the slices along the first axis.

    Attributes:
        rows, columns: of all of them; no columns are counted but of matrices.
        zero_rows, zero_columns: that are all 0.
        equal_rows, equal_columns: of those that are not, that are equal to another one.
        outlier_rows, outlier_columns: the numbers of those whose norms are far above the others':
            12 robust standard deviations above the median, and three times the median.
    """

    rows: int = 0
    zero_rows: int = 0
    equal_rows: int = 0
    outlier_rows: tuple[int, ...] = ()
    columns: int = 0
    zero_columns: int = 0
    equal_columns: int = 0
    outlier_columns: tuple[int, ...] = ()


class StoredStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of a dequantised tensor's numbers as they are stored: words, or codes."""

    dtype: str
    shape: tuple[int, ...]
    statistics: Statistics


class TensorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of one tensor, and what the inventory says of it.

    Attributes:
        name, key: its path, and its name as the source spells it.
        dtype, shape: as it is stored; of a packed weight, of what it stands for.
        role, component, is_parameter: of the inventory.
        pattern: "2:4 along axis 1" where at most two of four elements in a row are not zero;
            empty without such a pattern, and where shards cut its groups.
        statistics: of its elements; of a packed weight, dequantised.
        stored: of a packed weight that was dequantised, of its numbers as they are stored.
        lines: of its rows and columns, where they were asked for and it has them.
    """

    name: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    role: str
    component: str
    is_parameter: bool
    pattern: str
    statistics: Statistics
    stored: StoredStatistics | None = None
    lines: LineStatistics | None = None

    @property
    def sparsity(self) -> float:
        """The share of zeros."""
        return self.statistics.zeros / max(self.statistics.count, 1)


class GroupStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of tensors together whose names differ in numbers alone, or of one word.

    `lines` are counted in all of them; outliers are those of any.
    """

    name: str
    dtype: str
    tensors: int
    statistics: Statistics
    lines: LineStatistics | None = None


class Description(Exportable, frozen=True, kw_only=True):
    """What `describe` finds.

    Attributes:
        target: what was described.
        tensors: each tensor of numbers, in the source's order.
        groups: of tensors whose names differ in numbers alone, or by a word, together.
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
        axis: of channels, rows and columns: 0 of rows, 1 of columns.
        times: how far: standard deviations of an outlier, medians of a channel's norm or of a
            layer's root mean square.
    """

    tensor: str
    kind: Literal[
        "nan", "inf", "zero", "constant", "duplicate", "tied_different", "zero_rows", "equal_rows", "zero_columns",
        "equal_columns", "outlier", "outlier_channels", "layer_scale", "sparse", "subnormal", "wide_dtype",
    ]  # fmt: skip
    index: tuple[int, ...] | None
    text: str
    is_wrong: bool
    axis: int | None = None
    times: float | None = None


class ValueCheck(Exportable, frozen=True, kw_only=True):
    """What a check of values found, in how many tensors it looked, and what it left out."""

    target: str
    tensors: int
    elements: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.is_wrong for finding in self.findings)


def place_name(name: str, index: tuple[int | None, ...] | None) -> str:
    """Return the name of a tensor, with the place of one of its matrices as NumPy spells it.

    >>> place_name("conv/weight", (None, None, 1, 2)), place_name("weight", None)
    ('conv/weight[:,:,1,2]', 'weight')
    """
    if index is None:
        return name
    return f"{name}[{','.join(':' if each is None else str(each) for each in index)}]"


class MatrixSpectrum(msgspec.Struct, frozen=True, kw_only=True):
    """The singular values of one matrix, and what follows from them.

    Attributes:
        name, key, dtype: of the tensor.
        shape: of the matrix.
        index: which matrix of a tensor of more than two axes it is: a number for each of those
            axes that number its matrices, None for the two of the matrix; None of a matrix.
        method: "exact", or "randomised" for the leading values alone.
        spectral_norm: the largest singular value; true within `error`.
        error: bound of its error: the true one is at most so much larger.
        frobenius_norm: root of the sum of squares.
        stable_rank: squared Frobenius norm over squared spectral norm.
        effective_rank: exponential of the entropy of the singular values as shares of their
            sum (Roy and Vetterli 2007); None where not all are known.
        alpha: exponent of the power law that fits the tail of the eigenvalues of W^T W best,
            as WeightWatcher defines it; None for a spectrum without a tail.
        alpha_error: its standard error.
        tail: how many eigenvalues the law was fitted to.
        values: the leading singular values, in falling order.
    """

    name: str
    key: str
    dtype: str
    shape: tuple[int, int]
    index: tuple[int | None, ...] | None = None
    method: Literal["exact", "randomised"]
    spectral_norm: float
    error: float
    frobenius_norm: float
    stable_rank: float | None
    effective_rank: float | None
    alpha: float | None
    alpha_error: float | None
    tail: int
    values: tuple[float, ...]


class Spectrum(Exportable, frozen=True, kw_only=True):
    """What `spectrum` finds: each matrix in the source's order, and notes on the others."""

    target: str
    matrices: tuple[MatrixSpectrum, ...]
    notes: tuple[str, ...] = ()
