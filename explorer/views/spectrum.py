"""Spectra as a document: a row a matrix."""

from explorer.document.records import Column, Document, Notes, Paragraph, Table
from explorer.values.records import MatrixSpectrum, Spectrum, place_name
from explorer.views.nesting import named, nested

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


def spectrum_document(found: Spectrum, nest: bool = True) -> Document:
    """Return a row for each matrix; names below one another, or whole in each row."""
    rows = [_row(each) for each in found.matrices]
    names = [_name(each) for each in found.matrices]
    lines = (nested if nest else named)(names, rows)
    lines = [(*line, *[None] * (len(_COLUMNS) - len(line))) for line in lines]
    large = sum(each.method == "randomised" for each in found.matrices)
    text = f"{len(rows):,} matrices"
    if large:
        text += f", of {large:,} the leading singular values alone (randomised)"
    text += _extremes(found.matrices)
    table = Table(_COLUMNS, lines).without_empty_columns()
    parts = (
        Paragraph(text),
        *([table] if rows else []),
        *([Notes(found.notes)] if found.notes else []),
    )
    return Document(found.target, parts)


def _name(each: MatrixSpectrum) -> str:
    return place_name(each.name, each.index)


def _extremes(matrices: tuple[MatrixSpectrum, ...]) -> str:
    """Return what stands out: the largest norm, the smallest share of directions, the exponents."""
    parts = []
    if len(matrices) > 1:
        largest = max(matrices, key=lambda each: each.spectral_norm)
        parts.append(f"largest norm {largest.spectral_norm:.4g} in {_name(largest)}")
    known = [each for each in matrices if each.effective_rank and min(each.shape) >= _FEW]
    if len(known) > 1:
        least = min(known, key=_used)
        parts.append(
            f"fewest directions used in {_name(least)}: {_used(least):.0%} of them"
        )
    alphas = sorted(each.alpha for each in matrices if each.alpha is not None)
    if len(alphas) > 1:
        middle = alphas[len(alphas) // 2]
        parts.append(f"median alpha {middle:.2f}, from {alphas[0]:.2f} to {alphas[-1]:.2f}")
    return "".join(f"; {part}" for part in parts)


def _used(each: MatrixSpectrum) -> float:
    """Return the effective rank as a share of the rank that the shape allows."""
    return (each.effective_rank or 0.0) / min(each.shape)


_FEW = 8  # a side below it says nothing of the directions that are used


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
