"""Names that a module gives to the axes of its parameters, as axes of a mesh."""

from collections.abc import Mapping
from math import prod
from typing import Any

from explorer.errors import InputError, shown
from explorer.paths import name_of
from explorer.training.sharding.rule import Entry, Path, Spec, names_in

__all__ = ["LogicalAxes", "annotated_specs"]

LogicalAxes = Mapping[str, Entry]


def annotated_specs(
    annotations: Mapping[Path, tuple[Any, ...]],
    shapes: Mapping[Path, tuple[int, ...]],
    sizes: Mapping[str, int],
    logical_axes: LogicalAxes | None = None,
) -> dict[Path, Spec]:
    """Return the specs of the parameters whose axes have names.

    Args:
        annotations: names of axes by path: axes of the mesh, logical axes, or None.
        shapes: of the parameters.
        sizes: of the axes of the mesh.
        logical_axes: which axis of the mesh a logical axis is split over; None for none.

    Raises:
        InputError: a name is neither an axis of the mesh nor a logical one, a parameter has
            more or fewer axes than names, a size is not divisible, or an axis comes twice.

    >>> annotated_specs({("w",): ("embed", None)}, {("w",): (8, 3)}, {"fsdp": 4}, {"embed": "fsdp"})
    {('w',): ('fsdp',)}
    """
    axes = dict(logical_axes or {})
    return {
        path: _spec(name_of(path), names, shapes[path], sizes, axes)
        for path, names in annotations.items()
    }


def _spec(
    place: str,
    names: tuple[Any, ...],
    shape: tuple[int, ...],
    sizes: Mapping[str, int],
    logical_axes: LogicalAxes,
) -> Spec:
    if len(names) != len(shape):
        raise InputError(
            place,
            found=f"is annotated with {len(names)} axes, {shown(names, 60)}",
            expected=f"{len(shape)}, as its shape {shape} has",
        )
    entries: list[Entry] = []
    for size, annotation in zip(shape, names, strict=True):
        on_mesh = [
            name
            for each in names_in(annotation)
            for name in names_in(_axis(place, each, sizes, logical_axes))
        ]
        twice = [n for n in on_mesh if n in {m for e in entries for m in names_in(e)}]
        if twice:
            raise InputError(
                place,
                found=f"is split twice over {twice[0]}, by {shown(names, 60)}",
                expected="each axis of the mesh once",
            )
        if size % (parts := prod(sizes[name] for name in on_mesh)):
            raise InputError(
                place,
                found=f"is annotated to split {size} over {' x '.join(on_mesh)}, {parts} devices",
                expected="a size that they divide",
                cure="change the mesh, or the annotation",
            )
        kept = tuple(name for name in on_mesh if sizes[name] > 1)
        entries.append((kept if kept[1:] else kept[0]) if kept else None)
    while entries and entries[-1] is None:
        entries.pop()
    return tuple(entries)


def _axis(
    place: str, name: str, sizes: Mapping[str, int], logical_axes: LogicalAxes
) -> Entry:
    if name in sizes:
        return name
    if name not in logical_axes:
        raise InputError(
            place,
            found=f"is annotated with an axis {shown(name, 60)}",
            expected=f"one of the mesh's, {', '.join(sizes)}, or of logical_axes",
            cure=f'pass logical_axes={{"{name}": "fsdp"}}, or None for no axis',
        )
    found = logical_axes[name]
    if unknown := [each for each in names_in(found) if each not in sizes]:
        raise InputError(
            "logical_axes",
            found=f"{name}: {shown(unknown[0], 60)}",
            expected=f"axes of the mesh: {', '.join(sizes)}",
        )
    return found
