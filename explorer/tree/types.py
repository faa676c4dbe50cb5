"""Type aliases for trees in signatures, instead of a bare `Any`."""

from typing import Any, TypeAlias

__all__ = ["Array", "Batch", "Params", "PyTree"]

PyTree: TypeAlias = Any
"""Any nesting of containers that `jax.tree` flattens, with any leaves."""

Params: TypeAlias = Any
"""A pytree whose leaves are the parameters of a model: arrays, or their shapes."""

Batch: TypeAlias = Any
"""A pytree of arrays whose leading axis is the example axis."""

Array: TypeAlias = Any
"""An array of JAX or NumPy, or the shape of one (`jax.ShapeDtypeStruct`)."""
