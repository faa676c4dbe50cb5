"""Any pytree of arrays, abstract or not: parameters, variables, states, modules.

An object of a library that is not loaded cannot exist, so no library is imported for it.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from explorer.errors import TreeError
from explorer.inventory.gc_pause import paused_gc
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS
from explorer.objects.arrays import Mark, list_leaves, without_settings
from explorer.objects.frameworks import framework_of, is_instance
from explorer.objects.shardings import names_of_axes
from explorer.roles.settings import is_module
from explorer.tree.walk import Enter, Leaves, Path, place_of, walk

__all__ = ["arrays_of", "read"]


def read(tree: Any) -> Listing:
    """List the arrays of a tree; nothing is computed, copied or moved.

    Leaves may be JAX and NumPy arrays, ShapeDtypeStructs, tracers, numbers and PRNG keys;
    Flax's boxes are opened, Variables of NNX and penzai read by type. None is not a leaf. One
    array object in several places is one tensor with several names. In modules (a pytree that
    can be called) other leaves than arrays are settings and left out; elsewhere they are
    errors.

    Args:
        tree: nested containers, or any node that JAX knows, or dataclasses.

    Raises:
        TreeError: a leaf is not an array of numbers, a container holds itself, or the keys
            of a dict cannot be sorted; the message names the path.

    >>> listing = read({"params": {"bias": [0.5, None]}, "step": 3})
    >>> listing.keys, listing.dtypes
    ([('params', 'bias', '0'), ('step',)], ['float32', 'int32'])
    """
    with paused_gc():
        return list_leaves(_leaves_of(tree), _form(tree))


def arrays_of(tree: Any) -> list[tuple[Path, Any]]:
    """Return the arrays of a tree with their paths, as `read` lists them.

    A quantised tensor is there itself, in the place of its values.

    Raises:
        TreeError: as `read`.

    >>> arrays_of({"params": {"bias": [0.5, None]}, "step": 3})
    [(('params', 'bias', '0'), 0.5), (('step',), 3)]
    """
    leaves = without_settings(_leaves_of(tree))
    return [
        (path, value if mark.whole is None else mark.whole)
        for path, value, mark in zip(*leaves, strict=True)
    ]


def _leaves_of(tree: Any) -> Leaves:
    mark = Mark(collection="opt_state") if _is_optimizer_state(tree) else Mark()
    leaves = walk(tree, _enter(), mark)
    if _QUANTIZED not in sys.modules:
        return leaves
    paths = [
        path if inner.whole is None else path[:-1]
        for path, inner in zip(leaves.paths, leaves.marks, strict=True)
    ]
    return leaves._replace(paths=paths)


def _enter() -> Enter:
    """Return the function that opens nodes of the libraries that are loaded."""
    openers: list[Enter] = [_open_train_state]
    openers += [opener for name, opener in _OPENERS.items() if name in sys.modules]
    openers.append(_open_module)
    if "flax.nnx" in sys.modules:
        from explorer.objects.nnx_graph import GraphWalk

        openers.insert(0, GraphWalk())  # a module that looks like a train state is a module

    def enter(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
        for opener in openers:
            inner, inner_mark = opener(path, node, mark)
            if inner is not node or inner_mark is not mark:
                return inner, inner_mark
        return node, mark

    return enter


def _open_train_state(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    if _is_train_state(node) and not mark.fallback:
        return node, mark._replace(base=len(path), fallback="state")
    return node, mark


class _Copy(NamedTuple):
    """A tree that holds second copies of parameters."""

    tree: Any


def _open_lookahead(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    """Open optax's pair of parameters: the fast ones learn, the slow ones follow them."""
    if type(node) is _Copy:
        return node.tree, mark._replace(collection="ema")
    if _is_lookahead(node):
        return {"fast": node.fast, "slow": _Copy(node.slow)}, mark
    return node, mark


def _open_optimizer_state(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    if type(node) is _Copy or _is_lookahead(node):
        return _open_lookahead(path, node, mark)
    if _is_optax(node) and mark.collection != "opt_state":
        return node, mark._replace(collection="opt_state")
    return node, mark


def _open_equinox(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    import equinox as eqx

    if isinstance(node, eqx.nn.State | eqx.nn.StateIndex):  # running statistics
        return node, mark._replace(collection="buffers", arrays_only=True)
    if isinstance(node, eqx.Module) and not mark.arrays_only:
        return node, mark._replace(arrays_only=True)
    return node, mark


def _open_module(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    """Open a class of one's own that is a pytree and can be called."""
    if not mark.arrays_only and is_module(node):
        return node, mark._replace(arrays_only=True)
    return node, mark


def _open_penzai(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    from explorer.objects.penzai_variables import open_penzai

    return open_penzai(path, node, mark)


def _open_box(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    from flax.core.meta import AxisMetadata, Partitioned

    if not isinstance(node, AxisMetadata):
        return node, mark
    axes = names_of_axes(getattr(node, "names", None))
    # under a mesh, unboxing would constrain the array's sharding: an operation on it
    content = node.unbox(False) if isinstance(node, Partitioned) else node.unbox()
    return content, mark._replace(axes=axes or mark.axes)


def _refuse_linen(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    from flax.linen import Module

    if isinstance(node, Module):
        raise TreeError(
            place_of(path),
            found=f"a Linen module, {type(node).__name__}",
            expected="its variables: a Linen module does not hold them",
            cure="explore(module, *inputs) finds their shapes",
        )
    return node, mark


class _QuantizedPart(NamedTuple):
    """One array of a quantised tensor, and the tensor where it is the values of one."""

    array: Any
    whole: Any


def _open_quantised(path: Path, node: Any, mark: Mark) -> tuple[Any, Mark]:
    """Open a quantised tensor: its values have its name, the rest have names of their own."""
    if type(node) is _QuantizedPart:
        if node.whole is not None:
            return node.array, mark._replace(whole=node.whole)
        state = mark.collection if mark.collection not in ("", PARAMS) else "quantization"
        return node.array, mark._replace(collection=state)
    if not is_instance(node, _QUANTIZED, "Quantized"):
        return node, mark
    return {
        name: _QuantizedPart(part, node if name == "values" else None)
        for name, part in node.parts.items()
    }, mark


_QUANTIZED = "explorer.transforms.quantisation.quantized"
_OPENERS: dict[str, Enter] = {
    "optax": _open_optimizer_state,
    "penzai.core.variables": _open_penzai,
    "equinox": _open_equinox,
    "flax.core.meta": _open_box,
    "flax.linen": _refuse_linen,
    _QUANTIZED: _open_quantised,
}


def _is_train_state(node: Any) -> bool:
    kind = type(node)  # not the object: its __getattr__ may answer any name
    fields = getattr(kind, "__dataclass_fields__", None) or getattr(kind, "_fields", ())
    return "params" in fields and "opt_state" in fields


def _is_optax(node: Any) -> bool:
    module = type(node).__module__
    is_its_own = module == "optax" or module.startswith("optax.")
    return isinstance(node, tuple) and is_its_own and not _is_lookahead(node)


def _is_lookahead(node: Any) -> bool:
    return is_instance(node, "optax", "LookaheadParams")


def _is_optimizer_state(tree: Any) -> bool:
    """Return whether a tree comes from an optax `init`: a state, or a chain of them."""
    # once each, without recursion: tuples may be deep, or hold one twice, again and again
    nodes, seen = [tree], set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if type(node) is tuple and all(isinstance(part, tuple) for part in node):
            nodes += node
        elif _is_optax(node):
            return True
    return False


def _form(tree: Any) -> str:
    """Return the kind of a tree, by its root."""
    if _is_train_state(tree):
        return "train state"
    if _is_optimizer_state(tree):
        return "optax state"
    if framework_of(tree) == "nnx":
        return "flax nnx"
    if isinstance(tree, Mapping):
        return _form_of_mapping(tree)
    if is_instance(tree, "equinox", "Module"):
        return "equinox module"
    return "penzai model" if is_instance(tree, "penzai.core.struct", "Struct") else "pytree"


def _form_of_mapping(tree: Mapping[Any, Any]) -> str:
    if PARAMS in tree:
        return "flax variables"
    # Haiku's two levels: a module's full name, with slashes, and a parameter's
    two_levels = all(isinstance(x, Mapping) for x in tree.values())
    if two_levels and any("/" in str(name) for name in tree):
        return "haiku parameters"
    return "pytree"
