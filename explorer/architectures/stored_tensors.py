"""Which tensors a checkpoint of an architecture stores: names, shapes and the leaves in them."""

from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.checkpoint_names import CheckpointNames, NameRow
from explorer.architectures.declaration import (
    block_tensors,
    declare_outside_layers,
    layer_name,
)
from explorer.architectures.tensor_layout import TensorLayout

__all__ = [
    "StoredTensor",
    "alias_tensors",
    "count_stored",
    "iter_expert_groups",
    "iter_stored",
    "names_are_bare",
    "stored_tensors",
]

Shape = tuple[int, ...]
Path = tuple[str, ...]


class StoredTensor(NamedTuple):
    """A stored tensor: its shape, the leaves it holds, their layout, and its expert if any."""

    shape: Shape
    leaves: tuple[Path, ...]
    layout: TensorLayout
    expert: int | None = None


class _Entry(msgspec.Struct, frozen=True):
    """One stored tensor; with `experts`, one per expert, "{e}" in the name being its number."""

    name: str
    stored: StoredTensor
    experts: int

    def each(self) -> Iterator[tuple[str, StoredTensor]]:
        """Yield every tensor with its name."""
        if not self.experts:
            yield self.name, self.stored
            return
        before, after = self.name.split("{e}")
        for expert in range(self.experts):
            yield f"{before}{expert}{after}", self.stored._replace(expert=expert)


class _Match(msgspec.Struct, frozen=True):
    """A row whose leaves a model has, with their paths and shapes."""

    row: NameRow
    paths: tuple[Path, ...]
    shapes: tuple[Shape, ...]


def stored_tensors(
    architecture: Architecture,
    names: CheckpointNames,
    bare: bool = False,
    present: Container[str] | None = None,
) -> dict[str, StoredTensor]:
    """Return the tensors that a checkpoint of an architecture holds, by stored name.

    Args:
        architecture: the model.
        names: the names of its family.
        bare: whether names omit the family's base prefix, as those of a bare body do.
        present: the names in a checkpoint, which select among alternative rows of a leaf.

    Second names of tied tensors are not included: see `alias_tensors`.
    """
    return dict(iter_stored(architecture, names, bare, present))


def iter_stored(
    architecture: Architecture,
    names: CheckpointNames,
    bare: bool = False,
    present: Container[str] | None = None,
) -> Iterator[tuple[str, StoredTensor]]:
    """Yield the tensors of `stored_tensors` lazily, for callers that need only a few."""
    blocks = enumerate(architecture.blocks())
    for entry in _entries(architecture, names, bare, present, blocks):
        yield from entry.each()


def iter_expert_groups(
    architecture: Architecture, names: CheckpointNames
) -> Iterator[tuple[str, StoredTensor, int]]:
    """Yield stored tensors, those of a layer's experts once: with "{e}" in the name, and how many.

    The number is 1 for a tensor that is not an expert's.
    """
    blocks = enumerate(architecture.blocks())
    for entry in _entries(architecture, names, False, None, blocks):
        yield entry.name, entry.stored, entry.experts or 1


def count_stored(
    architecture: Architecture,
    names: CheckpointNames,
    bare: bool = False,
    present: Container[str] | None = None,
) -> int:
    """Return the number of `stored_tensors` without listing those of single experts."""
    blocks = enumerate(architecture.blocks())
    entries = _entries(architecture, names, bare, present, blocks)
    return sum(entry.experts or 1 for entry in entries)


def names_are_bare(
    architecture: Architecture,
    names: CheckpointNames,
    present: Container[str],
    default: bool,
) -> bool:
    """Return whether a checkpoint's names omit the family's base prefix.

    Decided by how many tensors outside the layers and of the first layer are present under
    either spelling; `default` breaks a tie.
    """
    first = list(islice(enumerate(architecture.blocks()), 1))

    def score(bare: bool) -> tuple[int, bool]:
        entries = _entries(architecture, names, bare, present, first)
        found = sum(next(entry.each())[0] in present for entry in entries)
        return found, bare == default

    return max((False, True), key=score)


def alias_tensors(
    architecture: Architecture, names: CheckpointNames, bare: bool = False
) -> dict[str, StoredTensor]:
    """Return the tensors that a checkpoint may hold a second time, by stored name."""
    outside = {t.path: t.shape for t in declare_outside_layers(architecture)}
    strip = names.base_prefix if bare else ""
    return {
        name: stored
        for each in names.aliases  # one at a time: they share leaves
        for entry in _stored_by(_matches((each,), outside), "", (), strip, None)
        for name, stored in entry.each()
    }


def _entries(
    architecture: Architecture,
    names: CheckpointNames,
    bare: bool,
    present: Container[str] | None,
    blocks: Iterable[tuple[int, BlockSpec]],
) -> Iterator[_Entry]:
    """Yield what is stored outside the layers, then of the given blocks."""
    strip = names.base_prefix if bare else ""
    outside = {t.path: t.shape for t in declare_outside_layers(architecture)}
    yield from _stored_by(_matches(names.top_level, outside), "", (), strip, present)
    # by id: many layers share one block object, which the architecture keeps alive
    matches: dict[int, list[_Match]] = {}
    for index, block in blocks:
        if id(block) not in matches:
            shapes = {t.path: t.shape for t in block_tensors(block)}
            matches[id(block)] = _matches(names.layers, shapes)
        prefix = names.layer_prefix.replace("{i}", str(index))
        path = (layer_name(index),)
        yield from _stored_by(matches[id(block)], prefix, path, strip, present)


def _matches(rows: tuple[NameRow, ...], shapes: dict[Path, Shape]) -> list[_Match]:
    """Return the rows all of whose leaves a model has."""
    split = [(each, tuple(tuple(leaf.split("/")) for leaf in each.leaves)) for each in rows]
    return [
        _Match(each, paths, tuple(shapes[path] for path in paths))
        for each, paths in split
        if all(path in shapes for path in paths)
    ]


def _stored_by(
    matches: list[_Match],
    prefix: str,
    front: Path,
    strip: str,
    present: Container[str] | None,
) -> Iterator[_Entry]:
    """Yield what the matching rows store."""
    for match, name in _selected(matches, prefix, strip, present):
        layout = match.row.layout
        leaves = tuple(front + path for path in match.paths)
        if "{e}" in name:
            shape = layout.shape([shape[1:] for shape in match.shapes])
            yield _Entry(name, StoredTensor(shape, leaves, layout, 0), match.shapes[0][0])
        else:
            shape = layout.shape(match.shapes)
            yield _Entry(name, StoredTensor(shape, leaves, layout), 0)


def _selected(
    matches: list[_Match], prefix: str, strip: str, present: Container[str] | None
) -> list[tuple[_Match, str]]:
    """Return rows that cover each leaf once, with their names; rows present come first."""
    named = [(each, (prefix + each.row.stored).removeprefix(strip)) for each in matches]
    covered: set[Path] = set()
    selected = []
    for must_be_present in (True, False) if present is not None else (False,):
        for match, name in named:
            if covered.isdisjoint(match.paths) and (
                not must_be_present
                or (present is not None and name.replace("{e}", "0") in present)
            ):
                covered.update(match.paths)
                selected.append((match, name))
    return selected
