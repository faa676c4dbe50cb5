"""The records of differences: what changed between two tensors, between two checkpoints."""

from typing import Literal

import msgspec

from explorer.document.exporting import Exportable

__all__ = ["VERDICTS", "Difference", "TensorDifference", "Verdict", "summed_up"]

Verdict = Literal[
    "identical",
    "rounding",
    "quantized",
    "low_rank",
    "permuted",
    "different",
    "missing",
    "added",
]
VERDICTS: tuple[Verdict, ...] = (
    "missing",
    "added",
    "different",
    "permuted",
    "low_rank",
    "quantized",
    "rounding",
    "identical",
)


class TensorDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in one tensor from `a` to `b`.

    Figures are of the elements that are finite on both sides; None where they mean nothing: a
    tensor that one side lacks, or shapes that differ.

    Attributes:
        name: the tensor's, as one side stores it whole; else that of the model's parameter.
        verdict: how `b` differs from `a`; see `explorer.diff`.
        detail: of the verdict: a format, a rank, an axis.
        in_a, in_b: its name on either side; empty where it is not there.
        dtype_a, dtype_b: the stored formats.
        shape_a, shape_b: as compared: in the layout of the side that gives the name.
        max_abs, mean_abs: of `b - a`.
        relative_l2: of `b - a`, relative to `a`.
        cosine: of the angle between `a` and `b`.
        changed: elements of other bits; of other numbers, where the formats differ.
        fraction: the share of them.
        first_index: of the first one.
        gaps: elements where one side alone is NaN, or infinite.
        beyond: elements outside the tolerance; without one, those that changed.
    """

    name: str
    verdict: Verdict
    detail: str = ""
    in_a: str = ""
    in_b: str = ""
    dtype_a: str = ""
    dtype_b: str = ""
    shape_a: tuple[int, ...] | None = None
    shape_b: tuple[int, ...] | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    relative_l2: float | None = None
    cosine: float | None = None
    changed: int | None = None
    fraction: float | None = None
    first_index: tuple[int, ...] | None = None
    gaps: int = 0
    beyond: int = 0


class Difference(Exportable, frozen=True, kw_only=True):
    """What `diff` finds.

    Attributes:
        a, b: what was compared.
        tensors: every tensor: what only one side has first, then by falling relative change.
        rtol, atol: the tolerance.
        notes: what was left out, and what was taken for granted.
    """

    a: str
    b: str
    tensors: tuple[TensorDifference, ...]
    rtol: float = 0.0
    atol: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether every tensor is on both sides, with the same bits."""
        return all(each.verdict == "identical" for each in self.tensors)

    @property
    def within_tolerance(self) -> bool:
        """Whether every tensor is on both sides, and no element beyond the tolerance."""
        return not any(
            each.beyond
            or each.verdict in ("missing", "added")
            or each.shape_a != each.shape_b
            for each in self.tensors
        )


def summed_up(found: Difference) -> dict[str, int]:
    """Return how many tensors have each verdict, of those that occur."""
    counts = dict.fromkeys(VERDICTS, 0)
    for each in found.tensors:
        counts[each.verdict] += 1
    return {verdict: number for verdict, number in counts.items() if number}
