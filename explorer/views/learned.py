"""Where learning happened, as a document: a row for each component of each layer."""

from explorer.document.records import Column, Document, Paragraph, Table
from explorer.values.learned import Learned, LearnedPart

__all__ = ["learned_document"]

_ROWS = 40  # above which the components of a layer share a row
_COLUMNS = (
    Column("where learning happened", least=20),
    Column("parameters", "right", rank=3),
    Column("rms before", "right", rank=2),
    Column("rms after", "right", rank=2),
    Column("change", "right"),
    Column("share", "right", rank=1),
    Column("", rank=3),
    Column("stable rank", "right", rank=1),
)
_BAR = 12


def learned_document(found: Learned) -> Document:
    """Return a sentence, and a row for each component of each layer.

    A change is relative to the parameters before; a share is of the squares of all changes; a
    rank is how many directions the changes of matrices have, of how many.
    """
    most = max((part.share for part in found.parts), default=0.0)
    rows: list[tuple] = []
    last = None
    for part in found.parts:
        alone = sum(each.name == part.name for each in found.parts) == 1
        if part.name != last and not alone:
            rows.append((part.name, *[None] * (len(_COLUMNS) - 1)))
        last = part.name
        rows.append((part.name if alone else f"  {part.component}", *_figures(part, most)))
    rows.append(("total", *_figures(found.total, 0)))
    table = Table(_COLUMNS, rows, total=True).without_empty_columns()
    return Document(blocks=(Paragraph(_sentence(found)), table))


def _sentence(found: Learned) -> str:
    if not found.total.share:
        return "no parameter changed"
    largest = max(found.parts, key=lambda part: part.share)
    moved = (
        "from zero"
        if found.total.change is None
        else f"by {found.total.change:.2g} of their norm"
    )
    where = f"{largest.name} ({largest.component})"
    return (
        f"the parameters moved {moved}; most in {where}: {largest.share:.0%} of the change"
    )


def _figures(part: LearnedPart, most: float) -> tuple:
    return (
        part.parameters,
        f"{part.rms_before:.3g}",
        f"{part.rms_after:.3g}",
        "from 0" if part.change is None else f"{part.change:.3g}",
        f"{part.share:.1%}",
        "█" * round(_BAR * part.share / most) if most else None,
        None if part.rank is None else f"{part.rank:.1f} of {part.full_rank:.0f}",
    )
