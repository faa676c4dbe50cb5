"""Where the state of a run is placed: as annotations say, and rules where there are none."""

from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from explorer.paths import name_of
from explorer.training.modules.variables import Annotations
from explorer.training.sharding.annotations import LogicalAxes, annotated_specs
from explorer.training.sharding.mesh import Rule, Rules, check_mesh, shardings_of
from explorer.training.sharding.placed_tensors import PlacedTensor, PlacementTable
from explorer.training.sharding.rules import DEFAULT_RULES, deciding_rule
from explorer.tree.walk import Path, names_of

__all__ = ["StatePlacement", "place_tree"]


class StatePlacement(NamedTuple):
    """A mesh, and what decides over which of its axes a tensor is split."""

    mesh: Mesh | None
    rules: Rule | Rules | None
    annotations: Annotations = MappingProxyType({})
    logical_axes: LogicalAxes | None = None

    def shardings(self, mesh: Mesh, shapes: Any) -> Any:
        """Return the sharding of every leaf of the shapes of a state.

        Raises:
            InputError: an annotation or a rule does not fit.
        """
        check_mesh(mesh)
        leaves, _ = jax.tree_util.tree_flatten_with_path(shapes.params)
        sizes = {names_of(keys): leaf.shape for keys, leaf in leaves}
        specs = annotated_specs(
            self.annotations, sizes, dict(mesh.shape), self.logical_axes
        )
        return shardings_of(shapes, mesh, self.rules, specs)

    def table(self, mesh: Mesh, shapes: Any) -> PlacementTable:
        """Return where each parameter of the shapes of a state is placed, and why.

        Raises:
            InputError: an annotation or a rule does not fit.
        """
        shardings = self.shardings(mesh, shapes)
        leaves, _ = jax.tree_util.tree_flatten_with_path(shapes.params)
        tensors = [
            self._row(names_of(keys), leaf, sharding)
            for (keys, leaf), sharding in zip(
                leaves, jax.tree.leaves(shardings.params), strict=True
            )
        ]
        sizes = [
            (_nbytes(leaf, leaf.shape), _nbytes(leaf, sharding.shard_shape(leaf.shape)))
            for leaf, sharding in zip(
                jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True
            )
        ]
        whole, part = map(sum, zip(*sizes, strict=True))
        return PlacementTable(
            mesh=dict(mesh.shape),
            tensors=tuple(tensors),
            state_bytes=whole,
            device_bytes=part,
        )

    def _row(self, path: Path, leaf: Any, sharding: Any) -> PlacedTensor:
        return PlacedTensor(
            name=name_of(path),
            shape=leaf.shape,
            dtype=str(leaf.dtype),
            spec=", ".join(_entry(entry) for entry in sharding.spec),
            why=self._why(path, leaf.shape),
            nbytes=_nbytes(leaf, leaf.shape),
            device_bytes=_nbytes(leaf, sharding.shard_shape(leaf.shape)),
        )

    def _why(self, path: Path, shape: tuple[int, ...]) -> str:
        if names := self.annotations.get(path):
            return f"annotation ({', '.join(_entry(name) for name in names)})"
        rules = DEFAULT_RULES if self.rules is None else self.rules
        rule = deciding_rule(path, shape, (rules,) if isinstance(rules, Rule) else rules)
        if rule is None:
            return "largest axis" if len(shape) > 1 else "no rule"
        words = (rule.glob, rule.role, rule.component)
        what = ", ".join(word for word in words if word is not None) or "all"
        return f"{'default rule' if rule in DEFAULT_RULES else 'rule'}: {what}"


def place_tree(tree: Any, mesh: Mesh | None, rules: Rule | Rules | None) -> Any:
    """Return a tree of arrays on a mesh, or on the default device; None as it is."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.device_put(tree, shardings_of(tree, mesh, rules))


def _entry(entry: Any) -> str:
    if isinstance(entry, tuple):
        return "+".join(map(str, entry))
    return str(entry) if entry is not None else "-"


def _nbytes(leaf: Any, shape: tuple[int, ...]) -> int:
    """Return the bytes of a part of a leaf; a key's are those of its data."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = jax.eval_shape(jax.random.key_data, leaf)
        return data.size // max(leaf.size, 1) * prod(shape) * data.dtype.itemsize
    return prod(shape) * leaf.dtype.itemsize
