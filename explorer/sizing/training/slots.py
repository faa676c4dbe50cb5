"""Optimizer state: what the common ones keep, by arithmetic; any optax state, by its own `init`.

`jax.eval_shape(tx.init, params)` gives the shapes of whatever a transformation keeps: chains,
masks, factored moments, schedules, gradient accumulators. The table is for the names that a
plan without JAX should answer; tests hold it against `init` of optax.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import msgspec

from explorer import dtypes
from explorer.errors import InputError

__all__ = ["KNOWN", "Slots", "measured_slots", "named_slots"]

Shapes = Mapping[tuple[str, ...], tuple[int, ...]]

# copies of the parameters that are kept, and counters of four bytes
KNOWN: dict[str, tuple[tuple[str, ...], int]] = {
    "sgd": ((), 0),
    "momentum": (("trace",), 0),
    "adam": (("mu", "nu"), 1),
    "adamw": (("mu", "nu"), 1),
    "nadam": (("mu", "nu"), 1),
    "nadamw": (("mu", "nu"), 1),
    "radam": (("mu", "nu"), 1),
    "adamax": (("mu", "nu"), 1),
    "adamaxw": (("mu", "nu"), 1),
    "lamb": (("mu", "nu"), 1),
    "yogi": (("mu", "nu"), 1),
    "adabelief": (("mu", "nu"), 1),
    "lion": (("mu",), 1),
    "rmsprop": (("nu",), 0),
    "adagrad": (("sum_of_squares",), 0),
    "lars": (("trace",), 0),
}


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


def named_slots(name: str, parameters: int, dtype: str) -> Slots | None:
    """Return what an optimizer of the table keeps; None for another name.

    Args:
        name: in any case.
        parameters: that are trained.
        dtype: of the parameters, which the slots have too.

    >>> named_slots("adamw", 10, "float32")
    Slots(by_name={'mu': 40, 'nu': 40, 'count': 4})
    """
    found = KNOWN.get(name.strip().lower())
    if found is None:
        return None
    copies, counters = found
    size = dtypes.find(dtype).nbytes(parameters)
    slots = dict.fromkeys(copies, size)
    return Slots(slots | ({"count": 4 * counters} if counters else {}))


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
