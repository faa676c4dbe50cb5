"""penzai's variables and named arrays: which are parameters, by their type.

A model that uses them has its parameters in `Parameter`s: other arrays in it are constants.
"""

from typing import Any

from penzai.core import struct, variables
from penzai.core.named_axes import NamedArrayBase

from explorer.inventory.tensor import PARAMS
from explorer.objects.arrays import Mark
from explorer.objects.shardings import names_of_axes
from explorer.tree.walk import Path

__all__ = ["open_penzai"]

_PARAMETERS = (variables.Parameter, variables.ParameterValue)
_VARIABLES = (variables.AbstractVariable, variables.AbstractVariableValue)


def open_penzai(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    """Return what to walk instead of a variable or a named array."""
    if isinstance(node, NamedArrayBase):
        names = tuple(getattr(node, "named_axes", {}))
        return getattr(node, "data_array", node), mark._replace(
            axes=names_of_axes(names) if names else mark.axes
        )
    if isinstance(node, _VARIABLES):
        learns = isinstance(node, _PARAMETERS)
        around = mark.collection or (PARAMS if learns else "state")
        owner = (id(node), len(path))
        return node.value, mark._replace(collection=around, owner=owner)  # pyright: ignore
    if isinstance(node, struct.Struct) and not mark.fallback:
        return node, mark._replace(fallback="buffers", arrays_only=True)
    return node, mark
