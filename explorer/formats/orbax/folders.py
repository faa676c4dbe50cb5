"""Where in an Orbax folder the trees are: the folder itself, named items, numbered steps.

A *tree* is a folder that one PyTree was saved into. A *step* holds trees as named items
("default", "state", "params"). The root of a CheckpointManager holds steps, each named by
its number ("1200", "step_00001200"). A save bears a suffix until it is whole.
"""

import os
import re
from typing import NamedTuple

from explorer.errors import FormatError, TargetError, printable

__all__ = ["Found", "find_trees", "recognises"]

_MARKERS = frozenset({"_METADATA", "manifest.ocdbt"})
_DOCUMENTS = (".zarray", "zarr.json")
_UNFINISHED = ".orbax-checkpoint-tmp"
_DEFAULT = "default"  # the item name that a CheckpointManager gives the only item
_STEP = re.compile(r"(?:.+[_-])?([0-9]{1,18})")


class Found(NamedTuple):
    """The folder that is read, its trees by item name ("" for an only one), remarks."""

    folder: str
    trees: dict[str, str]
    remarks: list[str]


def recognises(path: str) -> bool:
    """Say whether a folder is an Orbax tree, a step of items, or a root of steps."""
    return (
        _UNFINISHED in os.path.basename(os.path.abspath(path))
        or bool(_trees(path))
        or bool(_steps(path))
        or bool(_unfinished(path))
    )


def find_trees(path: str) -> Found:
    """Return the trees of an Orbax folder; of several steps, those of the newest.

    Raises:
        FormatError: the folder is, or has nothing but, a save that did not finish.
        TargetError: it holds no tree.
    """
    if _UNFINISHED in os.path.basename(os.path.abspath(path)):
        raise _refuse_unfinished(path, path)
    if trees := _trees(path):
        others = (
            [] if "" in trees else [name for name in _folders(path) if name not in trees]
        )
        remarks = [f"item {printable(name)} holds no arrays" for name in others]
        is_default = list(trees) == [_DEFAULT]
        return Found(path, {"": trees[_DEFAULT]} if is_default else trees, remarks)
    steps, unfinished = _steps(path), _unfinished(path)
    if steps:
        number, name = max(steps)
        found = find_trees(os.path.join(path, name))
        remarks = [f"step {number} was read, the newest of {len(steps)}"]
        remarks += [
            f"{printable(name)} is an unfinished save: not read" for name in unfinished
        ]
        return found._replace(remarks=remarks + found.remarks)
    if unfinished:
        raise _refuse_unfinished(path, unfinished[0])
    raise TargetError(
        path,
        found="holds no Orbax tree",
        expected="_METADATA or manifest.ocdbt in it, in an item or in a numbered step",
    )


def _refuse_unfinished(path: str, name: str) -> FormatError:
    return FormatError(
        path,
        found=f"{printable(os.path.basename(name))} is an Orbax save that did not finish",
        cure="wait until it has, or take an earlier step",
    )


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:  # a file, or a folder that nobody may read: no tree either way
        return []


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(
                e.name for e in entries if _UNFINISHED not in e.name and _holds(e)
            )
    except OSError:  # as above
        return []


def _holds(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a folder, or a link to one, asking again only for links."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _unfinished(path: str) -> list[str]:
    return [name for name in _names(path) if _UNFINISHED in name]


def _is_tree(path: str) -> bool:
    names = _names(path)
    if not _MARKERS.isdisjoint(names):
        return True
    # a tree older than _METADATA is a folder for every array: the first ones tell
    return any(
        os.path.isfile(os.path.join(path, name, document))
        for name in names[:8]
        for document in _DOCUMENTS
    )


def _trees(path: str) -> dict[str, str]:
    """Return the folder if it is a tree, else the trees directly in it, by name."""
    if _is_tree(path):
        return {"": path}
    inner = {name: os.path.join(path, name) for name in _folders(path)}
    return {name: folder for name, folder in inner.items() if _is_tree(folder)}


def _steps(path: str) -> list[tuple[int, str]]:
    """Return number and name of the folders that are named as steps and hold trees."""
    numbered = [(_STEP.fullmatch(name), name) for name in _folders(path)]
    return [
        (int(found[1]), name)
        for found, name in numbered
        if found and _trees(os.path.join(path, name))
    ]
