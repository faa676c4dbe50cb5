"""Two models side by side as a document: the totals, and the tree where they differ."""

from collections.abc import Sequence

from explorer.analyses.collapse import Row
from explorer.analyses.modules import ComparedModule, ModuleSide
from explorer.document.records import Block, Cell, Column, Paragraph, Table
from explorer.views import units

__all__ = ["side_by_side_blocks", "totals_sentence"]

_Side = Row | ModuleSide
_COLUMNS = (
    Column("name", least=20),
    Column("shape", rank=4),
    Column("change"),
    Column("parameters A", "right"),
    Column("parameters B", "right"),
    Column("B - A", "right", rank=1),
    Column("bytes A", "right", rank=3),
    Column("bytes B", "right", rank=3),
    Column("bytes B - A", "right", rank=2),
)


def side_by_side_blocks(modules: Sequence[ComparedModule]) -> tuple[Block, ...]:
    """Return a sentence of totals and the tree; what is equal is shown on the first level alone.

    >>> import explorer as ex
    >>> compared = ex.compare({"w": [0.0]}, {"w": [0.0], "b": [0.0]})
    >>> side_by_side_blocks(compared.modules)[0].text
    'A has 1 parameter (4 B), B has 2 parameters (8 B): +1 (+100.0%), +4 B'
    """
    root, *below = modules
    rows = [_cells("  " * (each.level - 1) + each.name, each) for each in below]
    total = _cells("total", root)
    table = Table(_COLUMNS, [*rows, total], total=True).without_empty_columns()
    return Paragraph(totals_sentence(root.a, root.b)), table


def _cells(name: str, module: ComparedModule) -> tuple[Cell, ...]:
    a, b = module.a, module.b
    return (
        name,
        _shape(a, b),
        _change(a, b),
        None if a is None else a.parameters,
        None if b is None else b.parameters,
        _signed(module.parameters),
        "" if a is None else units.size(a.nbytes),
        "" if b is None else units.size(b.nbytes),
        units.change(module.nbytes) or "=",
    )


def _change(a: ModuleSide | None, b: ModuleSide | None) -> str:
    """Return what happened to a row in a word; nothing for what is equal or only holds others."""
    if a is None or b is None:
        return "added" if a is None else "removed"
    if a.shapes != b.shapes:
        return "reshaped"
    return "recast" if a.dtypes != b.dtypes else ""


def _shape(a: ModuleSide | None, b: ModuleSide | None) -> str:
    old, new = (_shapes(side) for side in (a, b))
    if a is None or b is None:
        return old or new
    return old if old == new else f"{old} -> {new}"


def _shapes(side: ModuleSide | None) -> str:
    if side is None:
        return ""
    shapes = " + ".join(units.shape(shape, stack) for stack, shape in side.shapes)
    return f"{shapes} {', '.join(side.dtypes)}".strip()


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "="


def totals_sentence(a: _Side | None, b: _Side | None) -> str:
    """Return what two models add up to, and the difference, from the roots of their trees."""
    old, new = (0 if row is None else row.parameters for row in (a, b))
    old_bytes, new_bytes = (0 if row is None else row.nbytes for row in (a, b))
    more = f" ({(new - old) / old:+.1%})" if old and new != old else ""
    changed = units.change(new_bytes - old_bytes)
    difference = f"{new - old:+,}{more}" if new != old else "as many"
    return (
        f"A has {units.count(old, 'parameter')} ({units.size(old_bytes)}), B has "
        f"{units.count(new, 'parameter')} ({units.size(new_bytes)}): {difference}"
        f"{f', {changed}' if changed else ''}"
    )
