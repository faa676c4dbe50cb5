"""A comparison as a document: one line for each difference."""

from explorer.analyses.comparison import Comparison, StructureChange
from explorer.document.records import Document, Terms
from explorer.errors import printable
from explorer.views import units

__all__ = ["comparison_document"]

_WORDS = ("removed", "added", "reshaped", "recast", "moved")


def comparison_document(comparison: Comparison) -> Document:
    """Return every difference, one line each, and a closing line of counts.

    >>> from explorer.document.text import text_of
    >>> changes = (StructureChange("head/kernel", "", ((4, 2), "float32")),)
    >>> print(text_of(comparison_document(Comparison(removed=changes, unchanged=7)), None))
    removed   head/kernel float32[4, 2]
    1 removed, 7 unchanged
    """
    items = []
    counts = []
    for word in _WORDS:
        changes: tuple[StructureChange, ...] = getattr(comparison, word)
        items += [(word, _change(word, change)) for change in changes]
        counts += [f"{len(changes):,} {word}"] if changes else []
    closing = ", ".join([*counts, f"{comparison.unchanged:,} unchanged"])
    return Document(blocks=(Terms(tuple(items), len("reshaped"), closing),))


def _change(word: str, change: StructureChange) -> str:
    name = printable(change.before or change.after, 300)
    if word == "moved":
        return f"{name} -> {printable(change.after, 300)}"
    old, new = (_signature(side) for side in (change.old, change.new))
    return f"{name} {old} -> {new}" if old and new else f"{name} {old or new}"


def _signature(signature: tuple[tuple[int, ...], str] | None) -> str:
    return "" if signature is None else f"{signature[1]}{units.shape(signature[0])}"
