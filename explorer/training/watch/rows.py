"""Which parameters are watched, and the name of each row of what is measured.

A tensor is a row. A tensor that stacks equal tensors along its leading axes is a row for
each: of the layers that explorer's models scan, under the names that they have unrolled.
"""

import re
from collections import Counter
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import tree_util

from explorer.architectures.declaration import layer_name
from explorer.document.words import counted
from explorer.errors import InputError, TreeError, shown
from explorer.paths import matches
from explorer.training.watch.units import unit_axes
from explorer.tree.nesting import check_tree
from explorer.tree.walk import Path, names_of, place_of

__all__ = ["Plan", "Stacks", "Watched", "natural", "plan_rows", "stacks_of"]

Stacks = tuple[tuple[str, int], ...]


class Watched(NamedTuple):
    """One tensor: its place among the leaves, and how many leading axes stack equal ones.

    `units` are the axes of each of these that number its units. `kind` is its path without
    numbers: layers have one tensor of a kind each, and rules place all of them in one way.
    """

    leaf: int
    axes: int
    units: tuple[int, ...]
    kind: str


class Plan(NamedTuple):
    """What is measured: tensors in the order of the leaves; rows as they are shown.

    `order` says where each shown row is among those of the tensors.
    """

    tensors: tuple[Watched, ...]
    names: tuple[str, ...]
    order: tuple[int, ...]


def plan_rows(params: Any, glob: str, stacks: Stacks | None) -> Plan:
    """Return the rows of a tree of parameters that a glob selects.

    Args:
        params: a pytree of arrays or of shapes.
        glob: matched against the names of tensors and of rows.
        stacks: (glob, axes) pairs of stacked tensors; None for the layers that explorer's
            models scan.

    Raises:
        InputError: nothing is selected, or a tensor has fewer axes than it is to stack.
        TreeError: a leaf is not an array.
    """
    check_tree(params)
    found, _ = tree_util.tree_flatten_with_path(params)
    leaves = [(names_of(keys), leaf) for keys, leaf in found]
    for path, leaf in leaves:
        if not hasattr(leaf, "dtype"):
            raise TreeError(
                place_of(path), found=type(leaf).__name__, expected="an array or a shape"
            )
    shapes = [(path, leaf.shape) for path, leaf in leaves]
    scanned = _scanned_layers(shapes) if stacks is None else {}
    tensors: list[Watched] = []
    rows: list[tuple[str, int]] = []
    start = 0
    for index, (path, leaf) in enumerate(leaves):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        if path in scanned:
            names, axes = scanned[path], 1
        else:
            names, axes = _stacked_rows(path, leaf.shape, stacks or ())
        wanted = [
            (name, start + number)
            for number, name in enumerate(names)
            if matches(path, glob) or matches(name, glob)
        ]
        if wanted:
            rows += wanted
            units = unit_axes(path, leaf.shape[axes:])
            kind = re.sub("[0-9]+", "", "/".join(path))
            tensors.append(Watched(index, axes, units, kind))
            start += len(names)
    if not rows:
        raise InputError(
            "Watch(glob=)",
            found=f"{glob!r} matches none of {counted(len(leaves), 'tensor')}",
            expected=f"a glob of names such as {'/'.join(leaves[0][0])}" if leaves else "",
        )
    rows.sort(key=lambda row: natural(row[0]))
    return Plan(tuple(tensors), *map(tuple, zip(*rows, strict=True)))


def stacks_of(stacks: Any) -> Stacks | None:
    """Return the stacks that a Watch is given: pairs, or a single pair.

    Raises:
        InputError: an entry is not a pair of a glob and a number of axes.

    >>> stacks_of(("blocks/**", 1))
    (('blocks/**', 1),)
    """
    if stacks is None:
        return None
    several = isinstance(stacks, tuple | list) and not _is_pair(stacks)
    pairs: Any = tuple(stacks) if several else (stacks,)
    for pair in pairs:
        if not _is_pair(pair):
            raise InputError(
                "Watch(stacks=)",
                found=shown(pair, 60),
                expected='(glob, axes) pairs such as ("layers/**", 1)',
            )
    return pairs


def _is_pair(pair: Any) -> bool:
    kinds = [type(part) for part in pair] if isinstance(pair, tuple) else []
    return kinds == [str, int] and pair[1] > 0


def natural(name: str) -> tuple[tuple[str, int, str], ...]:
    """Return a key that sorts names with the numbers in them as numbers.

    >>> sorted(["h_10/bias", "h_9/kernel", "h_9/bias"], key=natural)
    ['h_9/bias', 'h_9/kernel', 'h_10/bias']
    """
    parts = [*re.split("([0-9]+)", name), ""]
    return tuple(
        (text, len(digits), digits) for text, digits in zip(parts[::2], parts[1::2])
    )


def _stacked_rows(
    path: Path, shape: tuple[int, ...], stacks: Stacks
) -> tuple[tuple[str, ...], int]:
    """Return the names of a tensor's rows, and the axes that the first glob says it stacks."""
    name = "/".join(path)
    axes = next((axes for glob, axes in stacks if matches(path, glob)), 0)
    if axes > len(shape):
        raise InputError(
            "Watch(stacks=)",
            found=f"{name} has {len(shape)} axes and is said to stack {axes}",
            expected="stacks along axes that the tensor has",
        )
    if not axes:
        return (name,), 0
    places = np.ndindex(shape[:axes])
    return tuple(f"{name}[{','.join(map(str, place))}]" for place in places), axes


_STAGE, _BLOCK = re.compile("stages_([0-9]{1,9})"), re.compile("block_([0-9]{1,9})")


def _scanned_layers(
    leaves: list[tuple[Path, tuple[int, ...]]],
) -> dict[Path, tuple[str, ...]]:
    """Return the names of each stacked tensor's rows, by the numbers of the layers.

    A stage repeats its blocks in turn: of B blocks, block b is layers b, b + B, and so on.
    Others call modules so as well (ConvNeXt has stages of blocks), and their tensors do not
    all have one leading axis: then nothing is taken for stacked.
    """
    stages: dict[tuple[Path, int], list[tuple[int, Path, tuple[int, ...]]]] = {}
    for path, shape in leaves:
        for at in range(len(path) - 2):
            stage, block = _STAGE.fullmatch(path[at]), _BLOCK.fullmatch(path[at + 1])
            if stage and block:
                same = stages.setdefault((path[:at], int(stage[1])), [])
                same.append((int(block[1]), path, shape))
                break
    rows: dict[Path, tuple[str, ...]] = {}
    first_layer: Counter[Path] = Counter()
    for (front, _), tensors in sorted(stages.items()):
        repeats = {shape[:1] for _, _, shape in tensors}
        if len(repeats) != 1 or () in repeats:
            return {}
        period = 1 + max(block for block, _, _ in tensors)
        layers = range(0, repeats.pop()[0] * period, period)
        for block, path, _ in tensors:
            start, rest = first_layer[front] + block, path[len(front) + 2 :]
            rows[path] = tuple(
                "/".join((*front, layer_name(start + layer), *rest)) for layer in layers
            )
        first_layer[front] += len(layers) * period
    return rows
