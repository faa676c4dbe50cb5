"""Where in an Orbax folder the trees are: the folder itself, named items, numbered steps.

A *tree* is a folder that one PyTree was saved into. A *step* holds trees as named items
("default", "state", "params"). The root of a CheckpointManager holds steps, each named by
its number ("1200", "step_00001200"). A save has a suffix in its name until it is complete.
"""

import os
import re
from typing import NamedTuple

from explorer.errors import FormatError, TargetError, printable
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["TreeFolders", "detect", "find_trees"]

_MARKERS = frozenset({"_METADATA", "manifest.ocdbt"})
_DOCUMENTS = (".zarray", "zarr.json")
_UNFINISHED = ".orbax-checkpoint-tmp"
_DEFAULT = "default"  # the item name that a CheckpointManager gives the only item
# those that `orbax.checkpoint.v1` gives it, in folders with a file that marks them
_DEFAULTS_OF_V1, _MARK_OF_V1 = ("state", "pytree"), "orbax.checkpoint"
_STEP = re.compile(r"(?:.+[_-])?([0-9]{1,18})")
_NUMBER = re.compile(r"([0-9]+)$")
# trees that are saved side by side under these names are steps, not items of one state
_STEP_NAMES = re.compile(
    r"(?:(?:checkpoint|ckpt|step|epoch|iter|iteration)[_-]?)?[0-9]{1,18}"
)


class TreeFolders(NamedTuple):
    """The folder that is read, its trees by item name ("" for a single one), remarks."""

    folder: str
    trees: dict[str, str]
    remarks: list[str]


def detect(path: str, store: Store = LOCAL) -> bool:
    """Return whether a folder is an Orbax tree, a step of items, or a root of steps."""
    return (
        _UNFINISHED in os.path.basename(os.path.abspath(path))
        or bool(_trees(path, store))
        or bool(_steps(path, store))
        or bool(_unfinished(path, store))
    )


def find_trees(path: str, store: Store = LOCAL) -> TreeFolders:
    """Return the trees of an Orbax folder; of several steps, those of the newest.

    Raises:
        FormatError: the folder is, or holds only, a save that did not finish.
        TargetError: it holds no tree.
    """
    if _UNFINISHED in os.path.basename(os.path.abspath(path)):
        raise _refuse_unfinished(path, path)
    trees = _trees(path, store)
    if trees and not all(map(_STEP_NAMES.fullmatch, trees)):
        folders = [] if "" in trees else _folders(path, store)
        others = [name for name in folders if name not in trees]
        remarks = [f"item {printable(name)} holds no arrays" for name in others]
        if len(trees) == 1 and _is_default(next(iter(trees)), _names(path, store)):
            trees = {"": next(iter(trees.values()))}
        return TreeFolders(path, trees, remarks)
    steps, unfinished = _steps(path, store), _unfinished(path, store)
    if steps:
        number, name = max(steps)
        found = find_trees(os.path.join(path, name), store)
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


def _is_default(item: str, names: list[str]) -> bool:
    """Return whether the name of an only item was given by Orbax, not by the user."""
    return item == _DEFAULT or (item in _DEFAULTS_OF_V1 and _MARK_OF_V1 in names)


def _refuse_unfinished(path: str, name: str) -> FormatError:
    return FormatError(
        path,
        found=f"{printable(os.path.basename(name))} is an Orbax save that did not finish",
        cure="wait until it has, or take an earlier step",
    )


def _names(path: str, store: Store) -> list[str]:
    try:
        return store.names(path)
    except TargetError:  # a file, or an unreadable folder: not a tree in either case
        return []


def _folders(path: str, store: Store) -> list[str]:
    try:
        return [name for name in store.folders(path) if _UNFINISHED not in name]
    except TargetError:  # as above
        return []


def _unfinished(path: str, store: Store) -> list[str]:
    return [name for name in _names(path, store) if _UNFINISHED in name]


def _is_tree(path: str, store: Store) -> bool:
    names = _names(path, store)
    if not _MARKERS.isdisjoint(names):
        return True
    # a tree older than _METADATA is a folder for every array: the first ones decide
    return any(
        store.is_file(os.path.join(path, name, document))
        for name in names[:8]
        for document in _DOCUMENTS
    )


def _trees(path: str, store: Store) -> dict[str, str]:
    """Return the folder if it is a tree, else the trees directly in it, by name."""
    if _is_tree(path, store):
        return {"": path}
    inner = {name: os.path.join(path, name) for name in _folders(path, store)}
    return {name: folder for name, folder in inner.items() if _is_tree(folder, store)}


def _steps(path: str, store: Store) -> list[tuple[int, str]]:
    """Return number and name of the folders that are named as steps and hold trees."""
    found = [
        (int(_NUMBER.search(name)[1]), name)  # pyright: ignore[reportOptionalSubscript]
        for name in _folders(path, store)
        if _STEP.fullmatch(name) or _STEP_NAMES.fullmatch(name)
    ]
    return [row for row in found if _trees(os.path.join(path, row[1]), store)]
