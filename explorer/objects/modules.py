"""Modules that are pytrees: Equinox, penzai, and classes of one's own, called on inputs."""

from collections.abc import Mapping
from typing import Any

import jax

from explorer.inventory.listing import Listing
from explorer.inventory.tensor import PARAMS, Component
from explorer.objects import pytree
from explorer.paths import Key, path_of
from explorer.roles.call import Call
from explorer.roles.names import classify, component_of_module
from explorer.roles.settings import frozen, is_array, is_module
from explorer.tree.nest import nest
from explorer.tree.types import PyTree
from explorer.tree.walk import Path, children_of

__all__ = ["call_of_module", "components_of"]


def call_of_module(module: Any, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return the call of a module on example inputs; its settings are passed unchanged.

    >>> import equinox as eqx
    >>> call = call_of_module(eqx.nn.Linear(2, 3, key=jax.random.key(0)), (), {})
    >>> sorted(call.params)
    ['bias', 'weight']
    """
    listing = pytree.read(module)
    leaves, treedef = jax.tree.flatten(frozen(module))
    places = [number for number, leaf in enumerate(leaves) if is_array(leaf)]
    keys = dict(zip(map(path_of, listing.keys), places, strict=True))
    learned = {
        path: number
        for (path, number), collection in zip(
            keys.items(), listing.collections or [""] * len(keys), strict=True
        )
        if collection in ("", PARAMS)
    }

    def fn(params: PyTree, *args: Any, **keywords: Any) -> Any:
        filled = list(leaves)
        for path, number in learned.items():
            filled[number] = _at(params, path)
        return treedef.unflatten(filled)(*args, **keywords)

    fn.__name__ = type(module).__name__
    return Call(
        fn=fn,
        params=nest({path: leaves[number] for path, number in learned.items()}),
        inputs=inputs,
        kwargs=kwargs,
        name=type(module).__name__,
        model=module,
        components=components_of(module, listing),
    )


def components_of(module: Any, listing: Listing) -> dict[Key, Component]:
    """Return the component of each array where the classes of the modules around it tell more
    than its path: an attribute `f` that is a LayerNorm."""
    kinds = _classes(module) if is_module(module) else {}
    if not kinds:
        return {}
    found: dict[Key, Component] = {}
    for key, shape in zip(listing.keys, listing.shapes, strict=True):
        path = path_of(key)
        component = _component(path, shape, kinds)
        if component != "other" and classify(path, shape)[1] == "other":
            found[key] = component
    return found


def _component(path: Path, shape: tuple[int, ...], kinds: Mapping[Path, str]) -> Component:
    named: list[str] = []
    for depth in range(len(path)):
        named += path[depth - 1 : depth] if depth else ()
        named += [kinds[path[:depth]]] if path[:depth] in kinds else []
    component = classify((*named, *path[-1:]), shape)[1]
    if component == "other" and len(shape) < 2:
        # a norm may be built of other layers: a scale and a shift
        is_norm = any(component_of_module(name) == "norm" for name in named)
        return "norm" if is_norm else component
    return component


def _classes(module: Any) -> dict[Path, str]:
    """Return the class of every module in a module, by its path."""
    found: dict[Path, str] = {}
    stack: list[tuple[Path, Any]] = [((), module)]
    while stack:
        path, node = stack.pop()
        if is_array(node) or len(path) > _DEEPEST:
            continue
        if callable(node) and not isinstance(node, type):
            found[path] = type(node).__name__
        children = children_of(path, node) or []
        stack += [((*path, name), child) for name, child in children]
    return found


_DEEPEST = 64


def _at(tree: Any, path: Path) -> Any:
    for name in path:
        tree = tree[name]
    return tree
