"""The nodes of NNX graphs: Variables by their type, modules without reference cycles."""

import re
import sys
from functools import cache
from typing import Any

import jax
from flax import nnx
from flax.nnx.training.optimizer import OptState
from jax.sharding import Sharding

from explorer.inventory.tensor import PARAMS
from explorer.objects.arrays import Mark
from explorer.objects.shardings import names_of_axes, text_of
from explorer.tree.collections import collection_of
from explorer.tree.walk import Path, children_of

__all__ = ["GraphWalk", "recognises"]

_MODULES = (getattr(nnx, "Pytree", nnx.Object),)
_VARIABLES = (nnx.Variable, vars(nnx).get("VariableState", nnx.Variable))
_PRIVATE = ("_pytree__", "_object__")
_ARRAYS = (jax.Array, jax.ShapeDtypeStruct)
_AXES = ("out_sharding", "sharding_names", "sharding")
_NO_NAMES = sys.maxsize
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

# The nearest class of a Variable type decides.
_COLLECTIONS = {
    nnx.Param: "params",
    nnx.BatchStat: "batch_stats",
    nnx.Cache: "cache",
    nnx.Intermediate: "intermediates",
    nnx.Perturbation: "perturbations",
    nnx.RngState: "rng_state",
    OptState: "opt_state",
}


def recognises(target: Any) -> bool:
    """Return whether a target is an NNX module, State, Variable, or a tuple with one."""
    # once each, without recursion: tuples may be deep, or hold one twice, again and again
    nodes, seen = [target], set()
    while nodes:
        node = nodes.pop()
        if type(node) is not tuple:
            if isinstance(node, (*_MODULES, *_VARIABLES, nnx.State, nnx.GraphDef)):
                return True
        elif id(node) not in seen:
            seen.add(id(node))
            nodes += node
    return False


class GraphWalk:
    """Called by `walk` at each node: opens Variables and avoids reference cycles.

    A module that is reached again is listed again, because its Variables have a second name
    there. Inside such a repeat every module is listed once, which bounds the walk of a densely
    connected graph.
    """

    def __init__(self):
        self._seen: set[int] = set()
        self._above: list[tuple[Path, int]] = []  # the modules around, and their ids
        self._again: tuple[Path, set[int]] | None = None  # a repeat, and the modules in it

    def __call__(self, path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
        """Return what to walk instead of a node, and the mark of what is in it."""
        if isinstance(node, _VARIABLES):
            return _open(path, node, mark)
        if isinstance(node, nnx.State):
            return node, _mark_inside(path, mark) if _has_variables(node) else mark
        if not isinstance(node, _MODULES):
            return node, mark
        if self._is_to_skip(path, id(node)):
            return None, mark
        return _attributes(path, node), _mark_inside(path, mark)

    def _is_to_skip(self, path: Path, module: int) -> bool:
        while self._above and not _is_below(path, self._above[-1][0]):
            self._above.pop()
        if self._again and not _is_below(path, self._again[0]):
            self._again = None
        if any(module == above for _, above in self._above):
            return True
        if self._again:
            if module in self._again[1]:
                return True
            self._again[1].add(module)
        elif module in self._seen:
            self._again = path, {module}
        self._seen.add(module)
        self._above.append((path, module))
        return False


def _has_variables(state: nnx.State) -> bool:
    """Return whether a State holds Variables, not arrays that were taken out of them."""

    def is_variable(node: Any) -> bool:
        return isinstance(node, _VARIABLES)

    return any(map(is_variable, jax.tree.leaves(state, is_leaf=is_variable)))


def _is_below(path: Path, above: Path) -> bool:
    return len(path) > len(above) and path[: len(above)] == above


def _mark_inside(path: Path, mark: Mark) -> Mark:
    """Return the mark for the inside of a module or State, whose names are the user's."""
    if mark.base == _NO_NAMES:
        return mark
    around = mark.collection or collection_of(path[mark.base :])
    return Mark(
        # moments and averages have the Variable type of their parameters
        collection="" if around == PARAMS else around,
        fallback="buffers",  # NNX never differentiates an array outside Variables
        base=_NO_NAMES,
        arrays_only=True,
    )


def _attributes(path: Path, node: Any) -> Any:
    """Return a module, or a dict of its attributes where JAX would not show them all."""
    own = {name: x for name, x in vars(node).items() if not name.startswith(_PRIVATE)}
    children = children_of(path, node)
    if children is None:  # nnx.Object: an object of the graph, but no pytree
        return own
    # NNX does not treat the shapes that `nnx.eval_shape` leaves of bare arrays as data
    shown = dict(children)
    lost = {name for name, x in own.items() if isinstance(x, _ARRAYS)} - shown.keys()
    if not lost:
        return node
    shown |= {name: own[name] for name in lost}
    if all(name.isdigit() for name in shown):  # of nnx.List: 2 before 10
        return {int(name): x for name, x in shown.items()}
    return shown


def _open(path: Path, variable: Any, mark: Mark) -> tuple[Any, Mark]:
    metadata = variable.get_metadata()
    axes = next((metadata[name] for name in _AXES if metadata.get(name) is not None), None)
    return _content(variable), Mark(
        collection=mark.collection or _collection(_type_of(variable)),
        axes=text_of(axes) if isinstance(axes, Sharding) else names_of_axes(axes),
        owner=(id(variable), len(path)),
    )


def _type_of(variable: Any) -> type:
    if not isinstance(variable, nnx.Variable):
        return variable.type  # a VariableState, before Flax 0.12
    return getattr(variable, "var_type", None) or type(variable)


def _content(variable: Any) -> Any:
    if not isinstance(variable, nnx.Variable):
        return variable.value
    if hasattr(type(variable), "get_raw_value"):
        return variable.get_raw_value()
    return variable.raw_value  # before Flax 0.12; the plain value would run its hooks


@cache
def _collection(kind: type) -> str:
    for base in kind.__mro__:
        if base in _COLLECTIONS:
            return _COLLECTIONS[base]
    try:
        return nnx.variable_name_from_type(kind)
    except ValueError:  # not registered: named after its class, "MyStats" -> "my_stats"
        return _WORD_STARTS.sub("_", kind.__name__).lower()
