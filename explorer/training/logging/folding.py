"""Watched rows as a tree in the order of use, with the numbers of equal layers as one."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from explorer.training.logging.curves import STACKED, depth_of, layer_of

__all__ = ["TreeLine", "furthest", "lines_of"]

_FEWEST = 4  # layers that are folded; fewer are shown one by one
_NUMBER = re.compile(r"[0-9]+(?=\]?$)")


class TreeLine(NamedTuple):
    """A line of the tree: an indented name, and which rows it stands for, none of a module."""

    name: str
    rows: tuple[int, ...]


def lines_of(names: Sequence[str]) -> list[TreeLine]:
    """Return the lines of a tree: embeddings first, then layers by number, then what follows.

    Four layers and more whose rows have the same names are one branch, each line of which
    stands for a row of every layer.

    >>> rows = ["embed/table", "norm/scale", *(f"h_{n}/mlp/{leaf}" for n in range(4) for leaf in "bw")]
    >>> for line in lines_of(rows):
    ...     print(f"{line.name:9}", *line.rows)
    embed/table 0
    h_[0-3]/mlp
      b       2 4 6 8
      w       3 5 7 9
    norm/scale 1
    """
    layers: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        layers.setdefault(layer_of(name), []).append(index)
    tree: dict = {}
    for label, members in _folded(names, layers):
        for rest, rows in members.items():
            node = tree
            for part in (*label.split("/"), *filter(None, rest.split("/"))):
                node = node.setdefault(part, {})
            node[""] = rows
    return list(_lines(tree, 0))


def furthest(
    lines: Sequence[TreeLine], table: np.ndarray, medians: np.ndarray
) -> tuple[int, int, float] | None:
    """Return a row, its column and how many times its line's median it is, or the reverse.

    That is the one furthest from the median of its line in proportion; None where no line
    stands for several rows, or no number of these is positive.

    Args:
        lines: of the tree.
        table: [rows, columns].
        medians: [lines, columns].
    """
    found: tuple[float, int, int] | None = None
    for line, middle in zip(lines, medians, strict=True):
        if len(line.rows) < 2:
            continue
        values = table[list(line.rows)]
        known = (values > 0) & np.isfinite(values) & (middle > 0)
        ratios = np.where(known, values, 1) / np.where(known, middle, 1)
        far = np.abs(np.log(ratios))
        place = np.unravel_index(int(far.argmax()), far.shape)
        if far[place] > 0 and (found is None or far[place] > found[0]):
            found = (float(far[place]), line.rows[place[0]], int(place[1]))
    return None if found is None else (found[1], found[2], float(np.exp(found[0])))


def _folded(
    names: Sequence[str], layers: dict[str, list[int]]
) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
    """Yield the labels of layers, or of several as one, and the rows by their other names."""
    equal: dict[tuple, list[str]] = {}
    for layer in sorted(layers, key=depth_of):
        rests = tuple(_rest(names[row], layer) for row in layers[layer])
        numbered = depth_of(layer) == 1
        kind = _NUMBER.sub("#", layer) if numbered else layer
        equal.setdefault((kind, rests), []).append(layer)
    for (_, rests), members in equal.items():
        several = [members] if len(members) >= _FEWEST else [[each] for each in members]
        for group in several:
            rows = zip(*(layers[layer] for layer in group), strict=True)
            yield _label(group), dict(zip(rests, rows, strict=True))


def _rest(name: str, layer: str) -> str:
    """Return what a row's name has behind its layer's."""
    name = name.removeprefix("params/")
    if STACKED.search(name):  # blocks[5] of blocks/bias[5]
        return STACKED.sub("", name.partition("/")[2])
    return name.removeprefix(layer).removeprefix("/")


def _label(group: Sequence[str]) -> str:
    """Return the name of layers: "layers_[0-3]" of four."""
    numbers = [_NUMBER.search(layer) for layer in group]
    if len(group) == 1 or not all(numbers):
        return group[0]
    found = [int(number[0]) for number in numbers if number]
    dense = found == list(range(found[0], found[0] + len(found)))
    inner = f"{found[0]}-{found[-1]}" if dense else ",".join(map(str, found))
    label = _NUMBER.sub(inner, group[0])
    return label if label.endswith("]") else _NUMBER.sub(f"[{inner}]", group[0])


def _lines(tree: dict, level: int) -> Iterator[TreeLine]:
    for name, node in tree.items():
        if name == "":
            continue
        while len(node) == 1 and "" not in node:  # a module of one part is on its line
            (part, node) = next(iter(node.items()))
            name = f"{name}/{part}"
        yield TreeLine("  " * level + name, node.get("", ()))
        yield from _lines(node, level + 1)
