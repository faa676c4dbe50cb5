"""Rows of tensors as a tree: a line for each module, and its tensors below it."""

from collections.abc import Sequence

__all__ = ["named", "nested"]


def named(names: Sequence[str], rows: Sequence[tuple]) -> list[tuple]:
    """Return rows that begin with the whole name.

    >>> named(["a/w", "c"], [(1,), (3,)])
    [('a/w', 1), ('c', 3)]
    """
    return [(name, *row) for name, row in zip(names, rows, strict=True)]


def nested(names: Sequence[str], rows: Sequence[tuple]) -> list[tuple]:
    """Return rows that begin with the last part of a name, indented, modules above them.

    Args:
        names: paths whose parts are joined by "/".
        rows: the cells of each after its name; a module's row has its name alone.

    >>> nested(["a/w", "a/b", "c"], [(1,), (2,), (3,)])
    [('a',), ('  w', 1), ('  b', 2), ('c', 3)]
    """
    found: list[tuple] = []
    last: tuple[str, ...] = ()
    for name, row in zip(names, rows, strict=True):
        *parents, own = path = tuple(name.split("/"))
        kept = _common(last, path)
        found += [(f"{'  ' * n}{parents[n]}",) for n in range(kept, len(parents))]
        found.append(("  " * len(parents) + own, *row))
        last = path
    return found


def _common(last: tuple[str, ...], path: tuple[str, ...]) -> int:
    """Return how many modules two paths share from the root."""
    most = min(len(last), len(path)) - 1
    return next((n for n in range(most) if last[n] != path[n]), max(most, 0))
