"""Differences of values as a document: what changed most first, what did not as a number."""

from typing import TYPE_CHECKING, Any

import msgspec

from explorer.document.records import Column, Document, Notes, Paragraph, Table, Terms
from explorer.errors import printable
from explorer.values.differences import Difference, TensorDifference, summed_up

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
    Column("tensor", least=48),
    Column("verdict"),
    Column("shape", rank=3),
    Column("relative", "right"),
    Column("max", "right", rank=1),
    Column("mean", "right", rank=2),
    Column("cosine", "right", rank=3),
    Column("changed", "right", rank=1),
    Column("first", "right", rank=1),
    Column("NaN or inf", "right", rank=1),
    Column("beyond", "right", rank=2),
)
_WORDS = {"low_rank": "low rank"}


def diff_document(found: Difference) -> Document:
    """Return a row for each tensor that differs, and how many have each verdict."""
    title = f"{found.a} -> {found.b}"
    rows = [
        _row(each, bool(found.rtol or found.atol))
        for each in found.tensors
        if each.verdict != "identical"
    ]
    blocks: list[Any] = [Paragraph(_sentence(found))]
    if rows:
        blocks.append(Table(_COLUMNS, rows).without_empty_columns())
    if found.notes:
        blocks.append(Notes(found.notes))
    return Document(title, tuple(blocks))


def _sentence(found: Difference) -> str:
    counts = summed_up(found)
    if found.identical:
        number = len(found.tensors)
        return f"identical: {number:,} tensor{'s' if number != 1 else ''}, every bit"
    parts = [f"{number:,} {_WORDS.get(word, word)}" for word, number in counts.items()]
    text = ", ".join(parts)
    if found.rtol or found.atol:
        verb = "all within" if found.within_tolerance else "not all within"
        text += f"; {verb} the tolerance (rtol {found.rtol:g}, atol {found.atol:g})"
    return text


def _row(each: TensorDifference, with_tolerance: bool) -> tuple:
    verdict = _WORDS.get(each.verdict, each.verdict)
    detail = each.detail
    if each.verdict == "low_rank":
        verdict, detail = detail.split(",")[0], ""
    return (
        printable(each.name, 300),
        f"{verdict} ({detail})" if detail else verdict,
        _shapes(each),
        _number(each.relative_l2),
        _number(each.max_abs),
        _number(each.mean_abs),
        "" if each.cosine is None else f"{each.cosine:.6f}",
        _share(each),
        "" if each.first_index is None else _index(each.first_index),
        each.gaps or None,
        each.beyond if with_tolerance else None,
    )


def _shapes(each: TensorDifference) -> str:
    sides = [
        f"{dtype}[{', '.join(map(str, shape))}]"
        for dtype, shape in ((each.dtype_a, each.shape_a), (each.dtype_b, each.shape_b))
        if shape is not None
    ]
    if len(sides) == 2 and sides[0] == sides[1]:
        return sides[0]
    return " -> ".join(sides)


def _share(each: TensorDifference) -> str:
    if each.changed is None or each.fraction is None:
        return ""
    if each.changed < 1000:
        return f"{each.changed}"
    return f"{each.fraction:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]"


def diff_records(found: Difference) -> list[dict[str, Any]]:
    """Return a flat record for each tensor, exact."""
    return [msgspec.structs.asdict(each) for each in found.tensors]


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
