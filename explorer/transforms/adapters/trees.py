"""Parameters of any framework by their paths, and with some of them replaced."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import jax

from explorer.arguments import check_tree_given
from explorer.errors import TreeError, first_few, shown
from explorer.paths import unboxed
from explorer.transforms.adapters.adapter import Adapter, is_adapter
from explorer.tree.arrays import check_not_donated
from explorer.tree.nesting import check_tree
from explorer.tree.walk import names_of

__all__ = [
    "ParameterLeaves",
    "adapters_in",
    "bytes_of",
    "dtype_name",
    "is_quantized",
    "replaced_in",
    "unpacked",
]

Path = tuple[str, ...]


class ParameterLeaves:
    """The leaves of a tree of parameters by path: arrays, shapes, or quantised tensors.

    A path is that of names, without the one of an NNX Variable's array.

    >>> ParameterLeaves({"dense": {"kernel": jax.numpy.ones((2, 3))}}).paths
    [('dense', 'kernel')]
    """

    def __init__(self, params: Any):
        check_tree_given("params", params, "a tree of parameters")
        check_tree(params)
        for leaf in jax.tree.leaves(params, is_leaf=is_quantized):
            if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
                raise TreeError(
                    "params", found=f"holds {shown(leaf, 60)}", expected="arrays"
                )
        check_not_donated("params", params)
        found, self._treedef = jax.tree_util.tree_flatten_with_path(
            params, is_leaf=is_quantized
        )
        self.paths: list[Path] = [unboxed(names_of(keys)) for keys, _ in found]
        self.values = [leaf for _, leaf in found]
        self._index = {path: index for index, path in enumerate(self.paths)}

    def __contains__(self, path: Path) -> bool:
        return path in self._index

    def __getitem__(self, path: Path) -> Any:
        return self.values[self._index[path]]

    def items(self) -> Iterator[tuple[Path, Any]]:
        """Yield every leaf with its path."""
        return zip(self.paths, self.values, strict=True)

    def replaced(self, new: Mapping[Path, Any]) -> Any:
        """Return the tree with other leaves at some paths."""
        leaves = [new.get(path, leaf) for path, leaf in self.items()]
        return jax.tree.unflatten(self._treedef, leaves)


def is_quantized(node: Any) -> bool:
    """Return whether a node is a tensor in a quantised format: a leaf of parameters here."""
    return hasattr(node, "dequantize") and not isinstance(node, type)


def unpacked(leaf: Any) -> Any:
    """Return a leaf as an array: dequantised if it is quantised."""
    return leaf.dequantize() if is_quantized(leaf) else leaf


def adapters_in(adapters: Any) -> list[tuple[Path, Adapter]]:
    """Return the adapters of a tree with their paths."""
    found = jax.tree_util.tree_flatten_with_path(adapters, is_leaf=is_adapter)[0]
    return [(names_of(keys), leaf) for keys, leaf in found if is_adapter(leaf)]


def replaced_in(adapters: Any) -> dict[Path, Any]:
    """Return the parameters of a tree of adapters that are trained whole, by path."""
    found = jax.tree_util.tree_flatten_with_path(adapters, is_leaf=is_adapter)[0]
    return {unboxed(names_of(keys)): leaf for keys, leaf in found if not is_adapter(leaf)}


def check_adapters(adapters: Any) -> None:
    """Refuse what is not a tree of adapters and of arrays."""
    expected = "a tree of add_lora"
    check_tree_given("adapters", adapters, expected)
    check_tree(adapters)
    for leaf in jax.tree.leaves(adapters, is_leaf=is_adapter):
        if not is_adapter(leaf) and not hasattr(leaf, "shape"):
            raise TreeError("adapters", found=f"holds {shown(leaf, 60)}", expected=expected)
    check_not_donated("adapters", adapters)


def check_fit(leaves: ParameterLeaves, adapters: Any) -> None:
    """Refuse adapters of other parameters.

    Raises:
        TreeError: a kernel is missing or of another shape; the first ones are named.
    """
    check_adapters(adapters)
    wanted = {k.path: k.shape for _, each in adapters_in(adapters) for k in each.kernels}
    wanted |= {path: tuple(a.shape) for path, a in replaced_in(adapters).items()}
    if not wanted:
        raise TreeError("adapters", found="no adapter", expected="a tree of add_lora")
    wrong = [
        f"{'/'.join(path)} {list(shape)}"
        + (f", which is {list(leaves[path].shape)}" if path in leaves else "")
        for path, shape in wanted.items()
        if path not in leaves or tuple(leaves[path].shape) != shape
    ]
    if wrong:
        raise TreeError(
            "adapters",
            found=f"are of another model: they adapt {first_few(wrong)}",
            expected="kernels of these parameters",
            cure="give the parameters that they were made for",
        )


def dtype_name(leaf: Any) -> str:
    """Return how a record calls the format of a leaf."""
    scheme = getattr(leaf, "scheme", None)
    return str(scheme) if scheme is not None and is_quantized(leaf) else str(leaf.dtype)


def bytes_of(leaf: Any) -> int:
    """Return the bytes that a leaf stores: all arrays of one that is quantised."""
    arrays = jax.tree.leaves(leaf) if is_quantized(leaf) else [leaf]
    return sum(prod(array.shape) * array.dtype.itemsize for array in arrays)
