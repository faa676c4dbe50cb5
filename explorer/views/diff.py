"""Differences of values as a document: what changed most first, what did not as a number."""

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec

from explorer.document.records import Column, Document, Notes, Paragraph, Table, Terms
from explorer.document.words import counted
from explorer.errors import printable
from explorer.values.differences import Difference, TensorDifference, summed_up
from explorer.values.groups import pattern_of, range_name

if TYPE_CHECKING:
    from explorer.values.compare_digests import DigestChange, DigestComparison
    from explorer.values.digest import TensorDigest

__all__ = [
    "diff_document",
    "diff_records",
    "diff_value",
    "digest_changes_document",
    "digest_changes_value",
]

_COLUMNS = (
    Column("tensor", least=44),
    Column("verdict"),
    Column("shape", rank=3),
    Column("relative", "right"),
    Column("max", "right", rank=1),
    Column("mean", "right", rank=2),
    Column("cosine", "right", rank=3),
    Column("changed", "right", rank=1),
    Column("first", "right"),
    Column("NaN or inf", "right", rank=1),
    Column("beyond", "right", rank=2),
)
_WORDS = {"low_rank": "low rank"}
_MANY = 30  # rows, above which equal layers share one


def diff_document(found: Difference) -> Document:
    """Return a row for each tensor that differs, and how many have each verdict.

    Where many differ, those of equal layers that changed in one way share a row: with the
    largest of their figures.
    """
    title = f"{printable(found.a, 300)}\n-> {printable(found.b, 300)}"
    with_tolerance = bool(found.rtol or found.atol)
    differ = [each for each in found.tensors if each.verdict != "identical"]
    groups = _folded(differ) if len(differ) > _MANY else [[each] for each in differ]
    rows = [_row(group, with_tolerance) for group in groups]
    blocks: list[Any] = [Paragraph(_sentence(found))]
    if rows:
        blocks.append(Table(_COLUMNS, rows).without_empty_columns())
    notes = list(found.notes)
    if len(groups) < len(differ):
        notes.append("a row of several tensors has the largest figure of each column")
    if notes:
        blocks.append(Notes(tuple(notes)))
    return Document(title, tuple(blocks))


def _folded(tensors: list[TensorDifference]) -> list[list[TensorDifference]]:
    """Return tensors whose names differ in digits alone together, if they changed in one way."""
    groups: dict[tuple, list[TensorDifference]] = {}
    for each in tensors:
        way = (
            each.detail.split(",")[0],
            each.dtype_a,
            each.dtype_b,
            each.shape_a,
            each.shape_b,
        )
        key = (pattern_of(each.name), each.verdict, *way)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _sentence(found: Difference) -> str:
    counts = summed_up(found)
    if not found.tensors:
        return "nothing to compare: neither side has a tensor"
    if found.identical:
        return f"identical: {counted(len(found.tensors), 'tensor')}, every bit"
    parts = [f"{number:,} {_WORDS.get(word, word)}" for word, number in counts.items()]
    text = ", ".join(parts)
    if found.rtol or found.atol:
        verb = "all within" if found.within_tolerance else "not all within"
        text += f"; {verb} the tolerance (rtol {found.rtol:g}, atol {found.atol:g})"
    return text


def _row(group: list[TensorDifference], with_tolerance: bool) -> tuple:
    first = group[0]
    verdict = _WORDS.get(first.verdict, first.verdict)
    detail = first.detail
    if first.verdict == "low_rank":
        verdict, detail = detail.split(",")[0], ""
    is_one = len(group) == 1 and first.first_index is not None
    cosines = [each.cosine for each in group if each.cosine is not None]
    return (
        printable(range_name([each.name for each in group]), 300),
        f"{verdict} ({detail})" if detail else verdict,
        _shapes(first),
        _number(_largest(each.relative_l2 for each in group)),
        _number(_largest(each.max_abs for each in group)),
        _number(_largest(each.mean_abs for each in group)),
        f"{min(cosines):.6f}" if cosines else "",
        _share(group),
        _index(first.first_index) if is_one and first.first_index is not None else "",
        sum(each.gaps for each in group) or None,
        sum(each.beyond for each in group) if with_tolerance else None,
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _shapes(each: TensorDifference) -> str:
    sides = [
        f"{dtype}[{', '.join(map(str, shape))}]"
        for dtype, shape in ((each.dtype_a, each.shape_a), (each.dtype_b, each.shape_b))
        if shape is not None
    ]
    if len(sides) == 2 and sides[0] == sides[1]:
        return sides[0]
    return " -> ".join(sides)


def _share(group: list[TensorDifference]) -> str:
    """Return how many elements changed; of many, the share."""
    counted = [each for each in group if each.changed is not None]
    if not counted:
        return ""
    changed = sum(each.changed or 0 for each in counted)
    if changed < 1000:
        return f"{changed}"
    return f"{changed / sum(prod(each.shape_a or ()) for each in counted):.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]"


def diff_records(found: Difference) -> list[dict[str, Any]]:
    """Return a flat record for each tensor, exact; an index as a list."""
    return [
        {
            **msgspec.structs.asdict(each),
            "first_index": each.first_index and [*each.first_index],
        }
        for each in found.tensors
    ]


def diff_value(found: Difference) -> dict[str, Any]:
    """Return what `--format json` prints."""
    return {
        "a": found.a,
        "b": found.b,
        "identical": found.identical,
        "within_tolerance": found.within_tolerance,
        "rtol": found.rtol,
        "atol": found.atol,
        "verdicts": summed_up(found),
        "tensors": diff_records(found),
        "notes": list(found.notes),
    }


def digest_changes_document(found: "DigestComparison") -> Document:
    """Return a line for each tensor that differs, and a closing line of counts."""
    counts: dict[str, int] = {}
    for each in found.changes:
        counts[each.verdict] = counts.get(each.verdict, 0) + 1
    items = tuple((each.verdict, _change(each)) for each in found.changes)
    words = [f"{number:,} {word}" for word, number in counts.items()]
    closing = ", ".join([*words, f"{found.same:,} identical"])
    return Document(blocks=(Terms(items, len("different"), closing),))


def _change(each: "DigestChange") -> str:
    name = printable(each.name, 300)
    if each.verdict == "moved" and each.after is not None:
        return f"{name} -> {printable(each.after.name, 300)}"
    old, new = (_format(side) for side in (each.before, each.after))
    if old and new and old != new:
        return f"{name} {old} -> {new}"
    return f"{name} {old or new}"


def _format(side: "TensorDigest | None") -> str:
    return "" if side is None else f"{side.dtype}[{', '.join(map(str, side.shape))}]"


def digest_changes_value(found: "DigestComparison") -> dict[str, Any]:
    """Return what `--format json` prints of a comparison of digests."""
    return {
        "a": found.a,
        "b": found.b,
        "identical": found.identical,
        "same": found.same,
        "tensors": found.changes,
    }
