"""How an array is sharded over devices, and how much of it the fullest device holds."""

from collections.abc import Iterable
from math import prod
from typing import Any

from jax.sharding import NamedSharding

__all__ = ["largest_shard", "names_of_axes", "text_of"]


def names_of_axes(names: Iterable[Any] | None) -> str:
    """Return the names of an array's axes as one string.

    >>> names_of_axes(("embed", None)), names_of_axes(None)
    ('(embed, None)', '')
    """
    return "" if names is None else f"({', '.join(map(str, names))})"


def text_of(sharding: Any) -> str:
    """Return a sharding over several devices as text: "('data', None) on {data: 8}"."""
    if isinstance(sharding, NamedSharding):
        mesh = ", ".join(f"{name}: {size}" for name, size in sharding.mesh.shape.items())
        return f"{tuple(sharding.spec)} on {{{mesh}}}"
    return f"{type(sharding).__name__} on {sharding.num_devices} devices"


def largest_shard(sharding: Any, shape: tuple[int, ...]) -> int:
    """Return how many elements of an array the fullest device holds.

    Sizes that are not divisible are padded, as XLA does.
    """
    if not isinstance(sharding, NamedSharding):
        return prod(sharding.shard_shape(shape))
    sizes = list(shape)
    for axis, names in enumerate(sharding.spec):
        names = (names,) if isinstance(names, str) else names
        if isinstance(names, tuple):  # None replicates; UNCONSTRAINED says nothing
            sizes[axis] = -(
                -sizes[axis] // prod(sharding.mesh.shape[name] for name in names)
            )
    return prod(sizes)
