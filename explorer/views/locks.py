"""What differs from a lock, of structure or of values: a document, and flat records."""

from typing import TYPE_CHECKING, Any

from explorer.analyses.comparison import Comparison
from explorer.document.records import Document
from explorer.views.comparison import CHANGE_FIELDS, comparison_records, comparison_table

if TYPE_CHECKING:  # comparing values needs NumPy, comparing structures does not
    from explorer.values.compare_digests import DigestComparison
    from explorer.values.digest import TensorDigest

__all__ = [
    "differences_document",
    "differences_fields",
    "differences_records",
    "differences_value",
]


def differences_document(comparison: "Comparison | DigestComparison") -> Document:
    """Return a table of what differs from a lock, below the counts."""
    if isinstance(comparison, Comparison):
        return comparison_table(comparison)
    from explorer.views.diff import digest_changes_document

    return digest_changes_document(comparison)


def differences_records(
    comparison: "Comparison | DigestComparison",
) -> list[dict[str, Any]]:
    """Return a flat record for each difference, exact.

    >>> from explorer.values.compare_digests import DigestChange, DigestComparison
    >>> from explorer.values.digest import TensorDigest
    >>> now = TensorDigest("0" * 32, "int8", (3,), "bias")
    >>> change = DigestChange(name="bias", verdict="added", after=now)
    >>> found = DigestComparison(a="values.lock", b="model/", changes=(change,), same=3)
    >>> [(each["change"], each["before"], each["after"]) for each in differences_records(found)]
    [('added', '', 'bias')]
    """
    if isinstance(comparison, Comparison):
        return comparison_records(comparison)
    return [
        {
            "change": change.verdict,
            "before": change.before.name if change.before else "",
            "after": change.after.name if change.after else "",
            **_side("before", change.before),
            **_side("after", change.after),
        }
        for change in comparison.changes
    ]


def differences_fields(comparison: "Comparison | DigestComparison") -> tuple[str, ...]:
    """Return the fields of those records, which are known without any.

    >>> differences_fields(Comparison(unchanged=1))[:3]
    ('change', 'before', 'after')
    """
    if isinstance(comparison, Comparison):
        return CHANGE_FIELDS
    sides = (*_side("before", None), *_side("after", None))
    return ("change", "before", "after", *sides)


def differences_value(
    comparison: "Comparison | DigestComparison", target: str, lock: str
) -> dict[str, Any]:
    """Return what `check --format json` prints.

    Args:
        comparison: of the lock with the target.
        target: what was compared.
        lock: the name of the lock file.
    """
    is_structure = isinstance(comparison, Comparison)
    return {
        "target": target,
        "lock": lock,
        "identical": comparison.identical,
        "unchanged": comparison.unchanged if is_structure else comparison.same,
        "changes": differences_records(comparison),
    }


def _side(word: str, found: "TensorDigest | None") -> dict[str, Any]:
    """Return the fields of one side, by the names that records of structures have."""
    return {
        f"dtype_{word}": found.dtype if found else "",
        f"shape_{word}": [*found.shape] if found else None,
        f"hash_{word}": found.hash if found else "",
    }
