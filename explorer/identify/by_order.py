"""A file without names: the model's tensors for its leaves, which are in the order of the tree.

Equinox writes every leaf of a module, numbers of Python among them (a dropout's rate, whether
a normalisation trains), which are not tensors of the model.
"""

from collections.abc import Sequence

from explorer.errors import InputError, printable
from explorer.inventory.tensor import TensorSpec
from explorer.paths import Key

__all__ = ["SOURCE", "matched_by_order"]

SOURCE = "equinox leaves"
# formats of Python's numbers and flags, as NumPy writes them
_NUMBERS = ("bool", "int64", "int32", "float64", "complex128")


def matched_by_order(
    target: str, leaves: Sequence[TensorSpec], model: Sequence[TensorSpec]
) -> dict[Key, TensorSpec]:
    """Return the model's tensor for each leaf of a file; its Python numbers have none.

    Raises:
        InputError: the shapes are not those of the model, in its order.

    >>> import explorer as ex, numpy as np
    >>> tree = ex.explore({"b": np.ones(3), "w": np.ones((4, 3))}).tensors
    >>> list(matched_by_order("a file", tree, tree))
    [('b',), ('w',)]
    """
    found: dict[Key, TensorSpec] = {}
    at = 0
    for spec in model:
        while at < len(leaves) and not _fits(leaves[at], spec) and _is_number(leaves[at]):
            at += 1
        if at == len(leaves) or leaves[at].shape != spec.shape:
            raise _refused(target, leaves[at : at + 1], spec)
        found[leaves[at].key] = spec
        at += 1
    rest = [leaf for leaf in leaves[at:] if not _is_number(leaf)]
    if rest:
        raise InputError(
            target or "the file",
            found=f"has {len(rest):,} leaves after the model's {len(model):,}",
            expected="the model that it was saved from, with its state if it has one",
        )
    return found


def _fits(leaf: TensorSpec, spec: TensorSpec) -> bool:
    """Return whether a leaf may be a tensor; of one number, the format has to agree."""
    return leaf.shape == spec.shape and (leaf.shape != () or leaf.dtype == spec.dtype)


def _is_number(leaf: TensorSpec) -> bool:
    return leaf.shape == () and leaf.dtype in _NUMBERS


def _refused(target: str, leaves: Sequence[TensorSpec], spec: TensorSpec) -> InputError:
    found = (
        f"leaf {leaves[0].name} is {list(leaves[0].shape)}"
        if leaves
        else "has no more leaves"
    )
    return InputError(
        target or "the file",
        found=f"{found} where the model has {printable(spec.name)} {list(spec.shape)}",
        expected="the model that it was saved from: its leaves are known by their order",
    )
