"""What the fullest device holds of an optimizer's state: slots are placed as their parameters."""

from collections.abc import Iterable, Mapping
from math import prod

from explorer import dtypes
from explorer.sizing.meshes.placed import placed_parameters
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.subject import Subject
from explorer.training.sharding.rule import names_in
from explorer.training.sharding.rules import followed

__all__ = ["copy_on_fullest", "slots_on_fullest"]

Path = tuple[str, ...]
Shape = tuple[int, ...]


def copy_on_fullest(subject: Subject, placement: Placement, dtype: str) -> int:
    """Return the bytes on the fullest device of one value for each parameter.

    >>> from explorer.architectures.resolve import resolve, inventory_of
    >>> gpt2 = resolve("gpt2")
    >>> subject = Subject("gpt2", inventory_of(gpt2), gpt2.architecture)
    >>> copy_on_fullest(subject, Placement(mesh={"fsdp": 8}), "float32")
    62644608
    """
    form = dtypes.find(dtype)
    return sum(
        each.copies * form.nbytes(prod(each.shape)) // each.shards
        for each in placed_parameters(subject, placement)
    )


def slots_on_fullest(
    slots: Iterable[tuple[Path, Shape, int]],
    parameters: Mapping[Path, Shape],
    placement: Placement,
) -> int:
    """Return the bytes on the fullest device of slots that have paths, shapes and bytes.

    A slot is placed as the parameter whose path its own ends in and whose shape it has, as
    training does; what has another shape (a factor, a counter) is on every device.

    >>> slots = [(("mu", "w", "kernel"), (8, 8), 256), (("count",), (), 4)]
    >>> slots_on_fullest(slots, {("w", "kernel"): (8, 8)}, Placement(mesh={"fsdp": 4}))
    68
    """
    spec_of = {
        (path, shape): placement.spec(path, shape) for path, shape in parameters.items()
    }
    held = 0
    for path, shape, nbytes in slots:
        spec = followed(path, shape, spec_of)
        held += nbytes // placement.size(*(n for entry in spec for n in names_in(entry)))
    return held
