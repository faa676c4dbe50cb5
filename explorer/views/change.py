"""What a transform changed as a document: a row for each component, and the notes."""

from typing import Any

from explorer.document.records import Column, Document, Notes, Paragraph, Table
from explorer.transforms.records import Change
from explorer.views import units

__all__ = ["change_document", "change_records"]

_COLUMNS = (
    Column("component", least=12),
    Column("tensors", "right", rank=3),
    Column("parameters", "right"),
    Column("after", "right", rank=1),
    Column("bytes", "right", rank=2),
    Column("after", "right", rank=1),
    Column("zeros", "right", rank=1),
    Column("rel. error", "right", rank=1),
)


def change_document(change: Change) -> Document:
    """Return a row for each component, their total, and what is to be said.

    >>> from explorer.document.text import text_of
    >>> from explorer.transforms.records import TensorChange
    >>> tensor = TensorChange(name="kernel", component="mlp", shape=(4, 8), before="float32",
    ...     after="float32", parameters_before=32, parameters_after=32, bytes_before=128,
    ...     bytes_after=128, zeros=16)
    >>> print(text_of(change_document(Change(transform="prune 0.5", target="m", tensors=(tensor,))), 80))
    m: prune 0.5
    <BLANKLINE>
    32 parameters, 128 B, 32.00 bits each; 16 are zero, 50.0%
    <BLANKLINE>
    component  tensors  parameters  bytes  zeros
    mlp              1          32    128     16
    ─────────  ───────  ──────────  ─────  ─────
    total            1          32    128     16
    """
    rows = [
        (
            each.component,
            each.tensors,
            each.parameters_before,
            each.parameters_after,
            each.bytes_before,
            each.bytes_after,
            _zeros(t for t in change.tensors if t.component == each.component),
            _error(each.relative_error),
        )
        for each in change.by_component
    ]
    total = (
        "total",
        len(change.tensors),
        change.parameters_before,
        change.parameters_after,
        change.bytes_before,
        change.bytes_after,
        _zeros(change.tensors),
        _error(change.relative_error),
    )
    table = Table(_COLUMNS, [_changed(row) for row in [*rows, total]], total=True)
    notes = [Notes(change.notes)] if change.notes else []
    title = f"{change.target}: {change.transform}"
    return Document(
        title, (Paragraph(_sentence(change)), table.without_empty_columns(), *notes)
    )


def change_records(change: Change) -> list[dict[str, Any]]:
    """Return a flat record for each tensor, exact."""
    import msgspec

    return [msgspec.structs.asdict(each) for each in change.tensors]


def _sentence(change: Change) -> str:
    after, before = change.parameters_after, change.parameters_before
    was = f" of {before:,}" if after != before else ""
    size = f"{units.size(change.bytes_after)}, {units.bits(change.bits_after)} bits each"
    zeros = _zeros(change.tensors)
    share = f"; {zeros:,} are zero, {units.share(zeros, after)}" if zeros else ""
    return f"{after:,}{was} parameters, {size}{share}"


def _changed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row without figures that are what they were."""
    name, tensors, parameters, after, size, size_after, zeros, error = row
    after = None if after == parameters else after
    size_after = None if size_after == size else size_after
    return name, tensors, parameters, after, size, size_after, zeros, error


def _zeros(tensors: Any) -> int | None:
    counted = [each.zeros for each in tensors if each.zeros is not None]
    return sum(counted) if counted else None


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
