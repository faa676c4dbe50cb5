"""Spectra as a document: a row a matrix."""

from explorer.document.records import Column, Document, Notes, Paragraph, Table
from explorer.values.records import MatrixSpectrum, Spectrum
from explorer.views.nesting import nested

__all__ = ["spectrum_document"]

_COLUMNS = (
    Column("matrix", least=20),
    Column("shape", "right", rank=3),
    Column("spectral norm", "right"),
    Column("error below", "right", rank=1),
    Column("stable rank", "right"),
    Column("effective rank", "right", rank=2),
    Column("alpha", "right"),
    Column("std error", "right", rank=1),
    Column("tail", "right", rank=3),
)


def spectrum_document(found: Spectrum) -> Document:
    """Return a row for each matrix."""
    rows = [_row(each) for each in found.matrices]
    lines = nested([each.name for each in found.matrices], rows)
    lines = [(*line, *[None] * (len(_COLUMNS) - len(line))) for line in lines]
    large = sum(each.method == "randomised" for each in found.matrices)
    text = f"{len(rows):,} matrices"
    if large:
        text += f", of {large:,} the leading singular values alone (randomised)"
    table = Table(_COLUMNS, lines).without_empty_columns()
    parts = (
        Paragraph(text),
        *([table] if rows else []),
        *([Notes(found.notes)] if found.notes else []),
    )
    return Document(found.target, parts)


def _row(each: MatrixSpectrum) -> tuple[str | int | None, ...]:
    return (
        "×".join(map(str, each.shape)),
        f"{each.spectral_norm:.4g}",
        f"{each.error:.1g}" if each.error else None,
        _number(each.stable_rank),
        _number(each.effective_rank),
        _number(each.alpha, 2),
        _number(each.alpha_error, 2),
        each.tail or None,
    )


def _number(value: float | None, digits: int = 1) -> str | None:
    return None if value is None else f"{value:,.{digits}f}"
