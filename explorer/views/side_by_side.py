"""Two models side by side as a document: the totals, and the tree where they differ."""

from collections.abc import Iterator

from explorer.analyses.collapse import Row
from explorer.analyses.side_by_side import Pair
from explorer.document.records import Block, Cell, Column, Paragraph, Table
from explorer.views import units

__all__ = ["side_by_side_blocks", "totals_sentence"]

_COLUMNS = (
    Column("name", least=24),
    Column("shape", rank=4),
    Column("parameters A", "right"),
    Column("parameters B", "right"),
    Column("B - A", "right", rank=1),
    Column("bytes A", "right", rank=3),
    Column("bytes B", "right", rank=3),
    Column("bytes B - A", "right", rank=2),
)


def side_by_side_blocks(root: Pair) -> tuple[Block, ...]:
    """Return a sentence of totals and the tree; what is equal is shown on the first level alone.

    >>> import explorer as ex
    >>> from explorer.analyses.side_by_side import side_by_side
    >>> a, b = ex.explore({"w": [0.0]}), ex.explore({"w": [0.0], "b": [0.0]})
    >>> side_by_side_blocks(side_by_side(a, b))[0].text
    'A has 1 parameter (4 B), B has 2 parameters (8 B): +1 (+100.0%), +4 B'
    """
    rows = [_cells("  " * level + pair.name, pair) for pair, level in _walk(root, 0)]
    total = _cells("total", root)
    table = Table(_COLUMNS, [*rows, total], total=True).without_empty_columns()
    return Paragraph(totals_sentence(root.before, root.after)), table


def _walk(pair: Pair, level: int) -> Iterator[tuple[Pair, int]]:
    for child in pair.children:
        yield child, level
        if child.differs:
            yield from _walk(child, level + 1)


def _cells(name: str, pair: Pair) -> tuple[Cell, ...]:
    a, b = pair.before, pair.after
    old, new = (0 if row is None else row.parameters for row in (a, b))
    old_bytes, new_bytes = (0 if row is None else row.nbytes for row in (a, b))
    return (
        name,
        _shape(a, b),
        None if a is None else old,
        None if b is None else new,
        _signed(new - old),
        "" if a is None else units.size(old_bytes),
        "" if b is None else units.size(new_bytes),
        units.change(new_bytes - old_bytes),
    )


def _shape(a: Row | None, b: Row | None) -> str:
    old, new = (_shapes(row) for row in (a, b))
    if a is None or b is None:
        return f"{'added' if a is None else 'removed'} {old or new}".strip()
    return old if old == new else f"{old} -> {new}"


def _shapes(row: Row | None) -> str:
    if row is None:
        return ""
    parts = row.parts or ((row,) if row.collection else ())
    shown = [part for part in parts if part.collection == "params"] or parts
    shapes = " + ".join(units.shape(part.shape, part.stack) for part in shown)
    dtypes = dict.fromkeys(name for part in shown for name in part.dtypes)
    return f"{shapes} {', '.join(dtypes)}".strip()


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "="


def totals_sentence(a: Row | None, b: Row | None) -> str:
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
