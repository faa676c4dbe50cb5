"""Which framework an object is from.

An object of a library that is not imported cannot exist, so no library is imported to find
out: a process that only reads files never loads Flax.
"""

import sys
from typing import Any, Literal

__all__ = ["Framework", "framework_of", "is_instance"]

Framework = Literal["linen", "nnx", "pytree"]


def framework_of(target: Any) -> Framework:
    """Return the framework whose reader opens an object.

    "nnx" covers modules, States, Variables, and tuples that hold one; "pytree" is everything
    that JAX flattens by itself: Equinox modules, Haiku parameters, optax states.

    >>> framework_of({"kernel": 1.0})
    'pytree'
    """
    if is_instance(target, "flax.linen", "Module"):
        return "linen"
    if "flax.nnx" in sys.modules:
        from explorer.objects.nnx_graph import recognises

        if recognises(target):
            return "nnx"
    return "pytree"


def is_instance(target: Any, module: str, name: str) -> bool:
    """Return whether an object is an instance of a class, without importing its module.

    >>> is_instance({}, "flax.nnx", "Module")
    False
    """
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(target, kind)
