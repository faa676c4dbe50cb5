"""Stacked layers and the single layers that they hold, by shapes and the ends of names alone."""

import re
from collections.abc import Iterator, Mapping

from explorer.paths import Key, path_of, unboxed

__all__ = ["stacked_layers"]

Path = tuple[str, ...]
Shape = tuple[int, ...]
_NUMBER = re.compile(r"[0-9]+")


def stacked_layers(
    stacks: Mapping[Key, Shape], singles: Mapping[Key, Shape]
) -> dict[Key, list[Key]]:
    """Return the layers, in order, of each tensor that stacks them along its first axis.

    Layers differ in one number of their names, which counts from 0. A stack has the name that
    follows that number as its ending, and their shape behind the number of layers; it is left
    out unless it is the only one for its layers, and they for it.

    >>> stacked_layers({"layers/kernel": (2, 4)}, {"layer_0/kernel": (4,), "layer_1/kernel": (4,)})
    {'layers/kernel': ['layer_0/kernel', 'layer_1/kernel']}
    """
    groups: dict[tuple[Path, str, Path], dict[int, Key]] = {}
    for key in singles:
        for front, around, number, ending in _numbered(unboxed(path_of(key))):
            groups.setdefault((front, around, ending), {})[number] = key
    by_form: dict[tuple[Shape, Path], list[list[Key]]] = {}
    for (_, _, ending), layers in groups.items():
        rows = (
            [layers[n] for n in range(len(layers))]
            if set(layers) == set(range(len(layers)))
            else []
        )
        shapes = {singles[key] for key in rows}
        if len(shapes) == 1:
            by_form.setdefault(((len(rows), *shapes.pop()), ending), []).append(rows)
    found: dict[Key, list[Key]] = {}
    owners: dict[Key, int] = {}
    for key, shape in stacks.items():
        path = unboxed(path_of(key))
        for cut in range(len(path) - 1):  # the longest ending first
            candidates = by_form.get((shape, path[cut + 1 :]), [])
            if candidates:
                if len(candidates) == 1:
                    found[key] = candidates[0]
                    owners[candidates[0][0]] = owners.get(candidates[0][0], 0) + 1
                break
    return {key: rows for key, rows in found.items() if owners[rows[0]] == 1}


def _numbered(path: Path) -> Iterator[tuple[Path, str, int, Path]]:
    """Yield each number in a path: what precedes it, its name without it, it, what follows."""
    for at, name in enumerate(path):
        for number in _NUMBER.finditer(name):
            around = f"{name[: number.start()]}*{name[number.end() :]}"
            yield path[:at], around, int(number[0]), path[at + 1 :]
