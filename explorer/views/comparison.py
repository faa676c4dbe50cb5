"""A comparison as a document: a line for each difference, or a table with equal layers folded."""

from typing import Any

from explorer.analyses.comparison import Comparison, StructureChange
from explorer.document.records import Column, Document, Paragraph, Table, Terms
from explorer.errors import printable
from explorer.values.groups import pattern_of, range_name
from explorer.views import units
from explorer.views.side_by_side import side_by_side_blocks

__all__ = [
    "CHANGE_FIELDS",
    "compared_document",
    "comparison_document",
    "comparison_records",
    "comparison_table",
]

_COLUMNS = (
    Column("change"),
    Column("tensor", least=20),
    Column("tensors", "right", rank=1),
    Column("before"),
    Column("after", least=0),
)
_WORDS = ("removed", "added", "reshaped", "recast", "moved")


def comparison_document(comparison: Comparison) -> Document:
    """Return every difference, one line each, and a closing line of counts.

    >>> from explorer.document.text import text_of
    >>> changes = (StructureChange("head/kernel", "", ((4, 2), "float32")),)
    >>> print(text_of(comparison_document(Comparison(removed=changes, unchanged=7)), None))
    removed   head/kernel float32[4, 2]
    1 removed, 7 unchanged
    """
    items = [
        (word, _change(word, change))
        for word in _WORDS
        for change in getattr(comparison, word)
    ]
    return Document(blocks=(Terms(tuple(items), len("reshaped"), _counts(comparison)),))


def comparison_table(comparison: Comparison, title: str = "") -> Document:
    """Return a table of the differences; those of layers that are equal share a row.

    >>> from explorer.document.text import text_of
    >>> changes = (StructureChange("b", "b", ((4,), "float32"), ((4,), "float16")),)
    >>> print(text_of(comparison_table(Comparison(recast=changes, unchanged=7)), 60))
    1 recast, 7 unchanged
    <BLANKLINE>
    change  tensor  before      after
    recast  b       float32[4]  float16[4]
    """
    rows = []
    for word in _WORDS:
        folded: dict[tuple, list[StructureChange]] = {}
        for change in getattr(comparison, word):
            names = (pattern_of(change.before), pattern_of(change.after))
            folded.setdefault((names, change.old, change.new), []).append(change)
        rows += [_row(word, changes) for changes in folded.values()]
    head = Paragraph(_counts(comparison))
    table = [Table(_COLUMNS, rows).without_empty_columns()] if rows else []
    return Document(title, (head, *table))


def compared_document(
    comparison: Comparison, title: str = "", most: int | None = None
) -> Document:
    """Return the modules side by side and the table of the differences.

    Args:
        comparison: of two targets.
        title: above it.
        most: differences that are listed tensor by tensor; None for all of them.
    """
    changes = comparison_table(comparison, title)
    if not comparison.modules:
        return changes
    counts, *table = changes.blocks
    if most is not None and len(comparison_records(comparison)) > most and table:
        table = [Paragraph("Tensor by tensor: --all")]
    blocks = side_by_side_blocks(comparison.modules)
    return Document(changes.title, (*blocks, counts, *table))


CHANGE_FIELDS = (
    "change", "before", "after", "dtype_before", "shape_before", "dtype_after", "shape_after",
)  # fmt: skip


def comparison_records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a flat record for each difference, exact."""
    found = []
    for word in _WORDS:
        for each in getattr(comparison, word):
            (shape_a, dtype_a), (shape_b, dtype_b) = (
                each.old or ((), ""),
                each.new or ((), ""),
            )
            found.append(
                {
                    "change": word,
                    "before": each.before,
                    "after": each.after,
                    "dtype_before": dtype_a,
                    "shape_before": list(shape_a) if each.old else None,
                    "dtype_after": dtype_b,
                    "shape_after": list(shape_b) if each.new else None,
                }
            )
    return found


def _row(word: str, changes: list[StructureChange]) -> tuple:
    first = changes[0]
    before = range_name(
        [printable(change.before or change.after, 300) for change in changes]
    )
    old, new = (_signature(side) for side in (first.old, first.new))
    if word == "moved":
        new = "to " + range_name([printable(change.after, 300) for change in changes])
    return (word, before, len(changes) if len(changes) > 1 else None, old, new)


def _counts(comparison: Comparison) -> str:
    counts = [(len(getattr(comparison, word)), word) for word in _WORDS]
    words = [f"{number:,} {word}" for number, word in counts if number]
    return ", ".join([*words, f"{comparison.unchanged:,} unchanged"])


def _change(word: str, change: StructureChange) -> str:
    name = printable(change.before or change.after, 300)
    if word == "moved":
        return f"{name} -> {printable(change.after, 300)}"
    old, new = (_signature(side) for side in (change.old, change.new))
    return f"{name} {old} -> {new}" if old and new else f"{name} {old or new}"


def _signature(signature: tuple[tuple[int, ...], str] | None) -> str:
    return "" if signature is None else f"{signature[1]}{units.shape(signature[0])}"
