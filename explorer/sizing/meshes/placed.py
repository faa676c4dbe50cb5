"""The parameters of a subject on a mesh: each kind once, with what a device holds of it."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import NamedTuple

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import (
    block_tensors,
    declare_outside_layers,
    layer_name,
)
from explorer.architectures.listing import is_parameter
from explorer.errors import InputError, first_few
from explorer.sizing.meshes.placement import Placement, mesh_text
from explorer.sizing.records import Workload
from explorer.sizing.subject import Subject
from explorer.training.sharding.rule import names_in

__all__ = [
    "PlacedParameters",
    "check_axes",
    "notes_on",
    "placed_parameters",
    "share_of_fullest",
]

Shape = tuple[int, ...]
_OF_BATCHES = ("data", "sequence")  # axes that divide what is computed, no parameter


class PlacedParameters(NamedTuple):
    """Equal parameters: the path of the first, the shape of each, how many, in how many parts.

    With stacked layers a tensor holds those of all layers, and is one.
    """

    path: tuple[str, ...]
    shape: Shape
    copies: int
    shards: int

    @property
    def size(self) -> int:
        """Elements of all of them together."""
        return self.copies * prod(self.shape)


def placed_parameters(
    subject: Subject, placement: Placement
) -> tuple[PlacedParameters, ...]:
    """Return the parameters of a subject with the parts that the mesh makes of each.

    Those of an architecture come from its records, as its Flax module would have them; those
    of other trees and files as they are. Equal layers are listed once.

    >>> from explorer.architectures.resolve import resolve, inventory_of
    >>> gpt2 = resolve("gpt2")
    >>> subject = Subject("gpt2", inventory_of(gpt2), gpt2.architecture)
    >>> placed = placed_parameters(subject, Placement(mesh={"fsdp": 8}))
    >>> sum(each.size for each in placed), placed[0]
    (124439808, PlacedParameters(path=('embed', 'embedding'), shape=(50257, 768), copies=1, shards=8))
    """
    if subject.architecture is None:
        found = _of_inventory(subject)
    else:
        found = _of_architecture(subject.architecture, placement.scan)
    return tuple(
        PlacedParameters(path, shape, copies, placement.shards(path, shape))
        for path, shape, copies in found
    )


@lru_cache(maxsize=8)
def _of_architecture(
    architecture: Architecture, scan: bool
) -> tuple[tuple[tuple[str, ...], Shape, int], ...]:
    outside = [(t.path, t.shape, 1) for t in declare_outside_layers(architecture)]
    return *outside, *_in_layers(architecture, scan)


def _in_layers(
    architecture: Architecture, scan: bool
) -> Iterator[tuple[tuple[str, ...], Shape, int]]:
    first = 0
    for number, stage in enumerate(architecture.stages):
        for index, block in enumerate(stage.blocks):
            layer = (layer_name(first + index),)
            prefix = (f"stages_{number}", f"block_{index}") if scan else layer
            for tensor in block_tensors(block):
                if not is_parameter(tensor.path):
                    continue
                shape = (stage.repeats, *tensor.shape) if scan else tensor.shape
                yield prefix + tensor.path, shape, 1 if scan else stage.repeats
        first += stage.layers


def _of_inventory(subject: Subject) -> Iterator[tuple[tuple[str, ...], Shape, int]]:
    for tensor in subject.inventory.tensors:
        if tensor.kind.is_parameter and not tensor.alias:
            yield tensor.path, tensor.shape, 1


def share_of_fullest(placed: tuple[PlacedParameters, ...]) -> Fraction:
    """Return which share of all elements the fullest device holds.

    >>> share_of_fullest((PlacedParameters(("a",), (8,), 1, 4), PlacedParameters(("b",), (2,), 1, 1)))
    Fraction(2, 5)
    """
    whole = sum(each.size for each in placed)
    held = sum((Fraction(each.size, each.shards) for each in placed), Fraction(0))
    return held / whole if whole else Fraction(1)


def check_axes(subject: Subject, placement: Placement) -> None:
    """Refuse a mesh with an axis that splits nothing.

    "data" is no such axis: it splits batches. Of "sequence" see `check_sequence`.

    Raises:
        InputError: the axis is named, and what it would have to divide.
    """
    split = {
        n: size for n, size in placement.mesh.items() if size > 1 and n not in _OF_BATCHES
    }
    if not split:
        return
    specs = {
        placement.spec(each.path, each.shape)
        for each in placed_parameters(subject, placement)
    }
    used = {axis for spec in specs for entry in spec for axis in names_in(entry)}
    for axis, size in split.items():
        if axis in used:
            continue
        raise InputError(
            "mesh",
            found=f"{axis}={size} divides no parameter of {subject.name}",
            expected=_wanted(subject, axis),
        )


def _wanted(subject: Subject, axis: str) -> str:
    architecture = subject.architecture
    if axis == "expert":
        router = architecture.router if architecture else None
        if router is None:
            return "other axes: it has no stacked experts"
        return f"a divisor of its {router.experts} experts"
    if architecture is None:
        return "another size or axis"
    return f"a divisor of its sizes, such as {architecture.size}"


def notes_on(
    subject: Subject,
    placement: Placement,
    workload: Workload,
    element_bytes: float,
) -> tuple[str, ...]:
    """Return what a reader of the plan has to know about the mesh.

    Args:
        subject: the model.
        placement: its mesh.
        workload: what for.
        element_bytes: bytes of one parameter, on average.
    """
    if placement.devices == 1:
        return ()
    notes = []
    if placement.implied:
        cause = "training" if workload.train else "inference"
        notes.append(
            f"{placement.devices} devices for {cause} are taken as the mesh "
            f"{mesh_text(placement.mesh)}; another by --mesh"
        )
    batch = placement.rounded(workload.batch)
    if batch != workload.batch:
        parts = placement.size("data", "fsdp")
        notes.append(
            f"the batch is raised from {workload.batch} to {batch}: "
            f"data x fsdp = {parts} divides it"
        )
    if (
        more := _held_more_than_once(placed_parameters(subject, placement), placement)
    ) is not None:
        names, elements = more
        nbytes = round(elements * Fraction(element_bytes))
        notes.append(f"on more devices than one: {names}: {nbytes:,} bytes of each")
    return tuple(notes)


def _held_more_than_once(
    placed: tuple[PlacedParameters, ...], placement: Placement
) -> tuple[str, Fraction] | None:
    """Return which parameters no axis but "data" splits, or not each, and their elements.

    Copies over "data" are its purpose; so are those over "expert" of anything but experts.
    """
    split = placement.size("fsdp", "tensor")
    names: dict[str, Fraction] = {}
    for each in placed:
        parts = each.shards // (placement.size("expert") if "experts" in each.path else 1)
        if max(parts, 1) < split:
            name = _short(each)
            names[name] = names.get(name, Fraction(0)) + Fraction(each.size, each.shards)
    if not names:
        return None
    largest = sorted(names, key=lambda name: -names[name])
    return first_few(largest), sum(names.values(), Fraction(0))


def _short(each: PlacedParameters) -> str:
    """Return the name of a kind of tensors, without that of its layer, and its shape."""
    stacked = each.path[0].startswith("stages_")
    path = each.path[2:] if stacked else each.path
    shape = each.shape[1:] if stacked else each.shape
    path = path[1:] if path[0].startswith("layers_") else path
    return f"{'/'.join(path)} ({' x '.join(map(str, shape))})"
