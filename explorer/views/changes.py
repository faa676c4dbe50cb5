"""A comparison as plain text: one line a difference."""

from explorer.analyses.comparison import Change, Comparison
from explorer.errors import printable
from explorer.views import units

__all__ = ["comparison_text"]

_WORDS = ("removed", "added", "reshaped", "recast", "moved")


def comparison_text(comparison: Comparison) -> str:
    """Return every difference, one line each, and a closing line of counts."""
    lines = []
    for word in _WORDS:
        changes: tuple[Change, ...] = getattr(comparison, word)
        lines += [f"{word:<9} {_change(word, change)}" for change in changes]
    counts = [
        f"{len(getattr(comparison, word)):,} {word}"
        for word in _WORDS
        if getattr(comparison, word)
    ]
    lines.append(", ".join([*counts, f"{comparison.unchanged:,} unchanged"]))
    return "\n".join(lines)


def _change(word: str, change: Change) -> str:
    name = printable(change.before or change.after, 300)
    if word == "moved":
        return f"{name} -> {printable(change.after, 300)}"
    old, new = (_signature(side) for side in (change.old, change.new))
    return f"{name} {old} -> {new}" if old and new else f"{name} {old or new}"


def _signature(signature: tuple[tuple[int, ...], str] | None) -> str:
    return "" if signature is None else f"{signature[1]}{units.shape(signature[0])}"
