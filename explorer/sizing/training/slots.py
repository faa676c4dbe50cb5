"""Optimizer state of any optax transformation, by its own `init`.

`jax.eval_shape(tx.init, params)` gives the shapes of whatever a transformation keeps: chains,
masks, factored moments, schedules, gradient accumulators. Names have formulas instead, which
load no JAX: see `optimizers`.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import msgspec

from explorer.errors import InputError

__all__ = ["Slots", "measured_slots"]

Shapes = Mapping[tuple[str, ...], tuple[int, ...]]


class Slots(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """What an optimizer keeps: bytes by slot, counters together as "count".

    Attributes:
        by_name: bytes of each slot.
        leaves: path, shape and bytes of each array; () where all slots but counters are
            copies of the parameters.

    >>> Slots({"mu": 40, "nu": 40, "count": 4}).bytes
    84
    """

    by_name: dict[str, int]
    leaves: tuple[tuple[tuple[str, ...], tuple[int, ...], int], ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all slots."""
        return sum(self.by_name.values())


def measured_slots(optimizer: Any, shapes: Shapes, dtype: str) -> Slots:
    """Return what an optax transformation keeps for parameters of these shapes.

    Args:
        optimizer: has `init` and `update`.
        shapes: by path; masks and labels see a nested dict of them.
        dtype: of the parameters.

    Raises:
        InputError: it is not an optax transformation, or its `init` fails for these.
    """
    import jax

    from explorer.tree.nest import nest
    from explorer.tree.walk import names_of

    if not callable(getattr(optimizer, "init", None)) or not callable(
        getattr(optimizer, "update", None)
    ):
        raise InputError(
            "optimizer",
            found=f"{type(optimizer).__name__} has no init and update",
            expected='an optax transformation such as optax.adamw(1e-3), or a name ("adamw")',
        )
    params = nest(
        {path: jax.ShapeDtypeStruct(shape, dtype) for path, shape in shapes.items()}
    )
    try:
        state = jax.eval_shape(optimizer.init, params)
    except Exception as error:
        raise InputError(
            "optimizer",
            found=f"its init fails: {type(error).__name__}: {str(error)[:200]}",
            expected="one that fits the trained parameters",
        ) from error
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    arrays = [
        (names_of(keys), leaf.shape, prod(leaf.shape) * leaf.dtype.itemsize)
        for keys, leaf in leaves
    ]
    return Slots(_by_slot(leaves), tuple(arrays))


def _by_slot(leaves: Iterable[tuple[Any, Any]]) -> dict[str, int]:
    """Return bytes by the last field of a state that is not a name of a parameter."""
    import jax

    found: dict[str, int] = {}
    for path, leaf in leaves:
        fields = [
            key.name
            for key in path
            if isinstance(key, jax.tree_util.GetAttrKey) and key.name != "inner_state"
        ]
        name = fields[-1] if fields else "state"
        nbytes = prod(leaf.shape) * leaf.dtype.itemsize
        name = "count" if not leaf.shape and leaf.dtype.kind in "iu" else name
        found[name] = found.get(name, 0) + nbytes
    return found
