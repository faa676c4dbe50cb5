"""What is in a target: its tensors, totals and differences of structure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from explorer.inventory.inventory import Inventory
from explorer.targets import resolve
from explorer.targets.inventories import (
    inventory_of,
)

if TYPE_CHECKING:
    from explorer.analyses.comparison import Comparison
    from explorer.analyses.ledger import Ledger
    from explorer.analyses.summary import By, Summary

__all__ = [
    "compare",
    "count_bytes",
    "count_parameters",
    "count_tensors",
    "explore",
    "ledger",
    "summarize",
]


def explore(target: Any, *inputs: Any, like: Any = None, **kwargs: Any) -> Inventory:
    """Return what is in a model, from its structure alone.

    Args:
        target: a path, a catalogued name ("llama-2-70b") or `package.module:attribute` (a
            str or path-like); a Hugging Face config (a dict); any pytree of arrays or of
            shapes; a Linen module; an NNX, Equinox or Haiku model; a TrainState; an optax
            state; `(module, *inputs)` or `(fn, params, inputs)`. An Inventory is returned
            as it is.
        *inputs: example inputs of a module: arrays, or their shapes as
            `jax.ShapeDtypeStruct`s.
        like: the model that a file was saved from, live or abstract, as a target: its types
            (Param, BatchStat, an optimizer's state, collections) and its roles are read for
            the tensors of the same name and shape, and remarks say what does not fit.
        **kwargs: keyword arguments of the module's call.

    Raises:
        InputError: or the subclass that fits (see explorer.errors); one line says what is
            wrong, where, and what would be right.

    >>> import numpy as np
    >>> explore({"dense": {"kernel": np.ones((4, 3), "float32"), "bias": np.ones(3, "float32")}})
    Inventory(pytree: 2 tensors, 15 parameters, 12 weights, 3 biases)
    """
    inventory = inventory_of(resolve(target, *inputs, **kwargs))
    if like is None:
        return inventory
    from explorer.identify.like import typed_like

    return typed_like(inventory, inventory_of(resolve(like)))


def count_tensors(target: Any, *inputs: Any, **kwargs: Any) -> int:
    """Return how many tensors (leaves, or named arrays of a file) a target has.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> count_tensors({"kernel": [[0.0, 0.0]]})
    2
    """
    return explore(target, *inputs, **kwargs).num_tensors


def count_parameters(target: Any, *inputs: Any, **kwargs: Any) -> int:
    """Return how many parameters (unique trainable scalars) a target has.

    Shared arrays count once; running statistics, integer arrays, optimizer state and every
    collection other than "params" are not counted.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> count_parameters({"kernel": [[0.0, 0.0]], "step": 3})
    2
    """
    return explore(target, *inputs, **kwargs).num_parameters


def count_bytes(target: Any, *inputs: Any, **kwargs: Any) -> int:
    """Return the bytes of a target's unique tensors, state included.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> count_bytes({"kernel": [[0.0, 0.0]]})
    8
    """
    return explore(target, *inputs, **kwargs).nbytes


def ledger(target: Any, *inputs: Any, **kwargs: Any) -> "Ledger":
    """Return every figure of a target with how it is known and what explains it.

    Args:
        target, *inputs, **kwargs: as for `explore`.

    >>> ledger({"params": {"kernel": [[0.0, 0.0]]}}).provenance["parameters"]
    'exact'
    """
    from explorer.analyses.ledger import ledger_of

    return ledger_of(explore(target, *inputs, **kwargs))


def summarize(
    target: Any, by: "By | Sequence[By]" = "component", depth: int = 1
) -> "Summary":
    """Return a target's totals by group; the groups add up to the total.

    Args:
        target: as for `explore`.
        by: role, component, module, dtype or collection; several make joint groups.
        depth: for modules, how many names of the path make one.

    Raises:
        InputError: as `explore`; also an unknown word in `by`, or a depth below 1.

    >>> found = summarize({"dense": {"bias": 0.0, "kernel": 0.0}, "head": 0.0}, by="module")
    >>> [(group.name, group.parameters) for group in found.groups]
    [('dense', 2), ('head', 1)]
    """
    from explorer.analyses import summary

    return summary.summarize(explore(target), by, depth)


def compare(a: Any, b: Any) -> "Comparison":
    """Return the structural differences of two targets: shapes and dtypes, never values.

    Args:
        a, b: as for `explore`.

    >>> compare({"kernel": [0.0]}, {"kernel": [0.0], "bias": [0.0]}).added[0].after
    'bias/0'
    """
    from explorer.analyses import comparison

    return comparison.compare(explore(a), explore(b))
