"""Kernels as products of two thinner ones: truncated singular value decompositions.

References:
    Eckart & Young, The approximation of one matrix by another of lower rank (1936): no matrix of
    that rank is nearer, in L2 and in spectral norm.
"""

from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np

from explorer import dtypes
from explorer.errors import InputError, check_type
from explorer.inventory.selection import check_glob, nothing_matches
from explorer.paths import matches
from explorer.roles.names import classify
from explorer.transforms.combining.settings import check_share
from explorer.transforms.measure import distance
from explorer.transforms.records import Change, TensorChange
from explorer.tree.arrays import check_arrays, check_concrete
from explorer.tree.types import Array, Params
from explorer.tree.walk import names_of

__all__ = ["Factors", "expand", "factorise"]


class Factors(NamedTuple):
    """A kernel [..., inputs, outputs] as left [..., inputs, rank] times right [..., rank, outputs].

    A pytree: both are parameters of a model that is trained on, and counted as they are.

    >>> Factors(np.ones((3, 1)), np.ones((1, 2))).kernel.shape
    (3, 2)
    """

    left: Array
    right: Array

    @property
    def kernel(self) -> Array:
        """The product, in the dtype of the factors."""
        return self.left @ self.right

    def dot(self, x: jax.Array) -> jax.Array:
        """Return x [..., inputs] @ kernel without making the kernel."""
        return (x @ self.left) @ self.right


def expand(params: Params) -> Params:
    """Return parameters whose factors are multiplied out: as the modules take them.

    >>> jax.tree.map(np.shape, expand({"kernel": Factors(np.ones((3, 1)), np.ones((1, 2)))}))
    {'kernel': (3, 2)}
    """

    def is_factors(leaf: Any) -> bool:
        return isinstance(leaf, Factors)

    return jax.tree.map(
        lambda leaf: leaf.kernel if is_factors(leaf) else leaf, params, is_leaf=is_factors
    )


def factorise(
    params: Params,
    rank: int | None = None,
    energy: float | None = None,
    select: str | None = None,
    target: str = "params",
) -> tuple[Params, Change]:
    """Return parameters whose kernels are `Factors`, where that takes fewer parameters.

    Args:
        params: a tree of arrays; kernels may be stacked, [layers, inputs, outputs].
        rank: of every kernel; or instead
        energy: the share of a kernel's squared L2 norm to keep: each has the rank it needs.
        select: a glob of paths; None for every kernel of a linear layer.
        target: what the record calls the tree.

    Returns:
        The tree, and what changed. A kernel that would not become smaller stays, with a note.

    Raises:
        InputError: neither or both of rank and energy, one out of range, a rank above that of a
            selected kernel, values that are not finite, or nothing that matches.

    >>> kernel = np.outer(np.arange(1, 9), np.arange(1, 7)).astype("float32")
    >>> tree, change = factorise({"mlp": {"kernel": kernel}}, rank=1)
    >>> change.parameters_before, change.parameters_after, change.tensors[0].relative_error < 1e-6
    (48, 14, True)
    """
    _check(rank, energy)
    if select is not None:
        check_glob(select)
    check_arrays("params", params)
    check_concrete("params", params)
    flat, treedef = jax.tree_util.tree_flatten_with_path(params)
    leaves, changes, chosen = [], [], 0
    for path, leaf in flat:
        names = names_of(path)
        role, component = classify(names, tuple(leaf.shape))
        linear = role == "kernel" and component not in ("embedding", "router", "head")
        wanted = linear if select is None else matches(names, select)
        found, note, error = leaf, "", None
        if wanted and leaf.ndim >= 2 and dtypes.find(leaf.dtype.name).kind == "float":
            chosen += 1
            found, note, error = _factorised("/".join(names), leaf, rank, energy)
        leaves.append(found)
        sizes = [each.size for each in jax.tree.leaves(found)]
        changes.append(
            TensorChange(
                name="/".join(names),
                component=component,
                shape=tuple(leaf.shape),
                before=leaf.dtype.name,
                after=leaf.dtype.name,
                parameters_before=leaf.size,
                parameters_after=sum(sizes),
                bytes_before=leaf.nbytes,
                bytes_after=sum(sizes) * leaf.dtype.itemsize,
                note=note,
                **error._asdict() if error else {},
            )
        )
    if not chosen:
        raise nothing_matches(target, select or "kernels", [each.name for each in changes])
    what = f"rank {rank}" if rank is not None else f"energy {energy:g}"
    return treedef.unflatten(leaves), Change(
        transform=f"low rank, {what}", target=target, tensors=tuple(changes)
    )


def _check(rank: int | None, energy: float | None) -> None:
    if (rank is None) == (energy is None):
        found = "neither rank nor energy" if rank is None else "both rank and energy"
        raise InputError("factorise()", found=found, expected="one of them")
    if energy is not None:
        check_share("energy", energy)
    if rank is not None:
        check_type("rank", rank, int, "a number of at least 1")
        if rank < 1:
            raise InputError("rank", found=f"is {rank}", expected="a number of at least 1")


def _factorised(name: str, leaf: Any, rank: int | None, energy: float | None) -> Any:
    """Return the factors of a kernel, a note, and their distance from it."""
    kernel = np.asarray(leaf).astype(np.float32)
    if not np.isfinite(kernel).all():
        first = np.unravel_index(np.argmin(np.isfinite(kernel)), kernel.shape)
        found = f"holds {kernel[first]} at {list(map(int, first))}"
        raise InputError(name, found=found, expected="finite values")
    inputs, outputs = kernel.shape[-2:]
    if rank is not None and rank > min(inputs, outputs):
        raise InputError(
            "rank",
            found=f"{rank}, and {name} is {inputs:,} x {outputs:,}",
            expected=f"at most {min(inputs, outputs):,}, or a select= without it",
        )
    left, sizes, right = np.linalg.svd(kernel, full_matrices=False)
    keep = rank if rank is not None else _needed(sizes, energy or 1.0)
    if keep * (inputs + outputs) >= inputs * outputs:
        note = f"rank {keep} takes no fewer parameters than the kernel: it stays"
        return leaf, note, distance(kernel, kernel)
    root = np.sqrt(sizes[..., None, :keep])
    dtype = np.asarray(leaf).dtype
    found = Factors(
        (left[..., :keep] * root).astype(dtype),
        (np.swapaxes(root, -1, -2) * right[..., :keep, :]).astype(dtype),
    )
    product = found.left.astype(np.float32) @ found.right.astype(np.float32)
    copies = prod(kernel.shape[:-2])
    note = f"rank {keep}" + (f" in each of {copies:,}" if copies > 1 else "")
    return found, note, distance(kernel, product)


def _needed(sizes: np.ndarray, energy: float) -> int:
    """Return the rank that keeps a share of the squares, in every matrix of a stack."""
    squares = np.cumsum(sizes.astype(np.float64) ** 2, -1)
    whole = squares[..., -1:]
    reached = squares >= energy * whole * (1 - 1e-12)
    return int(reached.argmax(-1).max()) + 1
