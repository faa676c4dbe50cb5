"""The arguments of a trace: parameters, inputs and the function, each checked."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from explorer.errors import InputError, TreeError, first_line, printable
from explorer.tree.nesting import check_tree
from explorer.tree.types import Params

__all__ = [
    "distinct",
    "leaves_of",
    "names_of",
    "paths_of",
    "shape_of",
    "split_call",
    "traced",
]


def leaves_of(params: Any) -> tuple[list[Any], Any]:
    """Return the leaves of a tree of parameters, and its structure.

    Raises:
        TreeError: there is none, or one is not an array.
    """
    leaves, treedef = jax.tree.flatten(params)
    if not leaves:
        raise TreeError("params", found="no parameters", expected="a tree of arrays")
    for number, leaf in enumerate(leaves):
        if not _is_array(leaf):
            raise TreeError(
                "/".join(filter(None, ("params", paths_of(params)[number]))),
                found=f"is {type(leaf).__name__}",
                expected="an array or a ShapeDtypeStruct",
            )
    return leaves, treedef


def names_of(params: Params) -> list[tuple[str, ...]]:
    """Return the path of every leaf as a tuple of names; boxes add no name."""
    return [
        tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
        for path, _ in _held(params)
    ]


def paths_of(params: Params) -> list[str]:
    """Return the path of every leaf, its names joined by "/"."""
    return list(map("/".join, names_of(params)))


def distinct(leaves: list[Any], params: Any) -> list[int]:
    """Return for each leaf the number of the first leaf that is the same array.

    Concrete arrays are the same if the object is; shapes if one NNX Variable holds them.
    """
    first: dict[Any, int] = {}
    return [
        first.setdefault(_identity(leaf, owner) or number, number)
        for number, (leaf, (_, owner)) in enumerate(zip(leaves, _held(params), strict=True))
    ]


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Return the shape of an array, with the dtype that JAX would give it."""
    of_numpy = isinstance(leaf, np.ndarray | np.generic)
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype) if of_numpy else leaf.dtype
    return jax.ShapeDtypeStruct(leaf.shape, dtype)


def split_call(inputs: Any, kwargs: Any) -> tuple[list[Any], Callable[[list[Any]], tuple]]:
    """Return the shapes of a call's arrays, and a function from arrays to its arguments."""
    check_tree(inputs, kwargs)
    leaves, treedef = jax.tree.flatten((inputs, kwargs))
    found = [_is_array(leaf) for leaf in leaves]

    def call(arrays: list[Any]) -> tuple:
        rest = iter(arrays)
        return treedef.unflatten(
            [
                next(rest) if is_array else x
                for x, is_array in zip(leaves, found, strict=True)
            ]
        )

    return [
        shape_of(x) for x, is_array in zip(leaves, found, strict=True) if is_array
    ], call


def traced(name: str, flat: Callable, shapes: list[Any], arrays: list[Any]) -> Any:
    """Return the jaxpr of a function of parameters and inputs.

    Raises:
        InputError: it cannot be called with them, or returns something other than arrays.
    """

    def outputs(shapes: list[Any], arrays: list[Any]) -> list[Any]:
        results = flat(shapes, arrays)
        check_tree(results)
        for path, leaf in jax.tree_util.tree_flatten_with_path(results)[0]:
            if not (_is_array(leaf) or isinstance(leaf, int | float | complex)):
                raise InputError(
                    name,
                    found=f"returns {type(leaf).__name__}{_at(path)}",
                    expected="arrays",
                )
        return jax.tree.leaves(results)

    try:
        closed = jax.make_jaxpr(outputs)(shapes, arrays)
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(name, found="recurses without end") from error
    except jax.errors.UnexpectedTracerError as error:
        raise _leak(name) from error
    except Exception as error:  # the user's function may raise anything
        raise _refused(name, error, arrays) from error
    if any(isinstance(const, Tracer) for const in closed.consts):
        raise _leak(name)
    return closed


def _leak(name: str) -> InputError:
    found = "uses a traced array that was kept from another call"
    return InputError(name, found=found, expected="a pure function")


def _refused(name: str, error: Exception, arrays: list[Any]) -> InputError:
    described = ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays)
    return InputError(
        name,
        found=f"cannot be called with ({printable(described, 200)}): {first_line(error)}",
        cure="pass what it takes after the parameters",
    )


def _is_array(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or not hasattr(leaf, "shape") or isinstance(leaf, ModuleType):
        return False
    return not (isinstance(dtype, np.dtype) and dtype.kind in "OSUMm")


def _held(params: Any) -> Iterator[tuple[tuple, Any]]:
    """Yield the path of every leaf, and an id of the Variable or box that holds it, or None."""
    boxes = _boxes()
    nodes, _ = jax.tree_util.tree_flatten_with_path(
        params, is_leaf=lambda node: isinstance(node, boxes)
    )
    for path, node in nodes:
        if not isinstance(node, boxes):
            yield path, None
            continue
        inside, _ = jax.tree_util.tree_flatten_with_path(node)
        for number, (rest, _) in enumerate(inside):
            yield (path if len(inside) == 1 else path + rest), (id(node), number)


def _boxes() -> tuple[type, ...]:
    """Return the types that hold one array each, from libraries that are loaded."""
    nnx, meta = sys.modules.get("flax.nnx"), sys.modules.get("flax.core.meta")
    found = (getattr(nnx, "Variable", None), getattr(meta, "AxisMetadata", None))
    return tuple(filter(None, found))


def _identity(leaf: Any, owner: Any) -> Any:
    is_concrete = isinstance(leaf, jax.Array | np.ndarray)
    return ("array", id(leaf)) if is_concrete else owner


def _at(path: tuple) -> str:
    return f" at {jax.tree_util.keystr(path, simple=True, separator='/')}" if path else ""
