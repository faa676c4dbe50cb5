"""The tensors of a role report as the tree that `show` prints: the same names, folded as there."""

import re
from collections.abc import Callable, Iterator, Sequence

from explorer.document.records import Column, Table
from explorer.paths import runs_of
from explorer.roles.report import RoleReport, RoleRow
from explorer.views import units

__all__ = ["roles_tree"]

_MOST = 6  # tensors in one row
_STAGE, _BLOCK = re.compile(r"stages_(\d+)"), re.compile(r"block_(\d+)")
_Tree = dict[str, "_Tree | RoleRow"]


def roles_tree(report: RoleReport, unit: str, flops: Callable[[int], int]) -> Table:
    """Return a row for each module and tensor; rows of the first level add up to the total.

    Args:
        report: whose rows to show.
        unit: what the last column counts.
        flops: of multiply-adds.
    """
    columns = (
        Column("name", least=24),
        Column("shape", rank=3),
        Column("by use", rank=1),
        Column("how", rank=2),
        Column("parameters", "right"),
        Column(unit, "right", rank=1),
    )
    tree: _Tree = {}
    for path, row in zip(_paths(report.rows), report.rows, strict=True):
        _insert(tree, path, row)
    rows = [
        ("  " * level + name, *_cells(node), *_sums(node, flops))
        for name, node, level in _walk(tree, 0)
    ]
    total = ("total", "", "", "", *_sums(tree, flops))
    return Table(columns, [*rows, total], total=True).without_empty_columns()


def _paths(rows: Sequence[RoleRow]) -> list[tuple[str, ...]]:
    """Return the path of each row; of layers that are stacked, by the layers' own numbers.

    Stage 1, whose two blocks are repeated 3 times after 4 layers, has layers 4, 6, 8 and 5, 7, 9.
    """
    paths = [tuple(row.path.split("/")) for row in rows]
    repeats: dict[int, int] = {}
    blocks: dict[int, int] = {}
    for path, row in zip(paths, rows, strict=True):
        if (found := _staged(path)) is not None and row.stack:
            stage, block = found
            repeats[stage] = row.stack[0]
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
    names: dict[tuple[int, int], str] = {}
    first = 0
    for stage in sorted(repeats):
        for block in range(blocks[stage]):
            layers = range(
                first + block, first + blocks[stage] * repeats[stage], blocks[stage]
            )
            names[stage, block] = f"layers_{_numbers(layers)}"
        first += blocks[stage] * repeats[stage]
    return [
        path if (at := _staged(path)) is None or at not in names else (names[at], *path[2:])
        for path in paths
    ]


def _numbers(layers: range) -> str:
    return f"[{runs_of(layers)}]" if len(layers) > 1 else str(layers[0])


def _staged(path: tuple[str, ...]) -> tuple[int, int] | None:
    """Return the stage and the block that a path begins with; None for any other."""
    if len(path) < 3:
        return None
    stage, block = _STAGE.fullmatch(path[0]), _BLOCK.fullmatch(path[1])
    return (int(stage[1]), int(block[1])) if stage and block else None


def _insert(tree: _Tree, path: tuple[str, ...], row: RoleRow) -> None:
    for name in path[:-1]:
        below = tree.setdefault(name, {})
        if isinstance(below, RoleRow):  # a tensor and a module of one name
            module: _Tree = {"": below}
            tree[name] = below = module
        tree = below
    tree[path[-1]] = row


def _walk(tree: _Tree, level: int) -> Iterator[tuple[str, _Tree | RoleRow, int]]:
    for name, node in tree.items():
        while isinstance(node, dict) and len(node) == 1:
            ((only, below),) = node.items()
            if isinstance(below, RoleRow):
                break
            name, node = f"{name}/{only}", below
        yield name, node, level
        if isinstance(node, dict) and not _is_simple(node):
            yield from _walk(node, level + 1)


def _is_simple(node: _Tree) -> bool:
    """Return whether a module is a few tensors, which one row names."""
    return len(node) <= _MOST and all(isinstance(each, RoleRow) for each in node.values())


def _cells(node: _Tree | RoleRow) -> tuple[str, str, str]:
    """Return shapes, roles and uses: of a tensor, or of a simple module's, kernel first."""
    if isinstance(node, dict) and not _is_simple(node):
        return "", "", ""
    rows = sorted(_rows(node), key=lambda row: row.counted_role == "bias")
    return (
        " + ".join(units.shape(row.shape, row.stack) for row in rows),
        " + ".join(dict.fromkeys(map(job, rows))),
        " + ".join(dict.fromkeys(", ".join(row.uses) for row in rows)),
    )


def _sums(node: _Tree | RoleRow, flops: Callable[[int], int]) -> tuple[int, int]:
    rows = list(_rows(node))
    return sum(row.parameters for row in rows), flops(sum(row.macs for row in rows))


def _rows(node: _Tree | RoleRow) -> Iterator[RoleRow]:
    if isinstance(node, RoleRow):
        yield node
        return
    for below in node.values():
        yield from _rows(below)


def job(row: RoleRow) -> str:
    """Return what a tensor does, in a word or two."""
    if not row.reached:
        return "unused"
    words = [row.role, "tied" if row.tied else "", "" if row.differentiable else "frozen"]
    return ", ".join(filter(None, words))
