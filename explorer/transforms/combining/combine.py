"""Trees of several models -> one tree of their combination, and what changed in it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from explorer import dtypes
from explorer.errors import InputError, TreeError, check_type, printable
from explorer.roles.names import classify
from explorer.transforms.combining.methods import Mixing, mixed
from explorer.transforms.combining.settings import (
    NEED_BASE,
    check_share,
    checked_weights,
    method_named,
)
from explorer.transforms.measure import distance
from explorer.transforms.records import Change, TensorChange
from explorer.tree.nesting import check_tree
from explorer.tree.types import Params
from explorer.tree.walk import names_of

__all__ = ["combine_trees", "combined_tensor", "mixing_of"]


def mixing_of(
    method: str,
    models: int,
    base: Any,
    weights: Any = None,
    density: float = 0.5,
    scale: float = 1.0,
    seed: int = 0,
) -> Mixing:
    """Return how so many models are combined, checked.

    Raises:
        InputError: an unknown method, one model alone, a base that is missing or unused, or a
            number that is not a weight, a share or a scale.
    """
    method = method_named(method)
    if models < (1 if method in NEED_BASE else 2):
        raise InputError("models", found=f"{models}", expected="two or more")
    if method in NEED_BASE and base is None:
        raise InputError(
            "base", found=f"none, and {method} adds changes to one", expected="a model"
        )
    if method not in NEED_BASE and base is not None:
        expected = f"none: {method} does not use one"
        raise InputError("base", found="a model", expected=expected)
    check_share("density", density)
    check_type("scale", scale, (int, float), "a number")
    check_type("seed", seed, int, "an int")
    found = checked_weights(method, weights, models)
    return Mixing(method, found, float(density), float(scale), int(seed))


def combined_tensor(
    name: str,
    arrays: Sequence[np.ndarray],
    base: np.ndarray | None,
    mixing: Mixing,
    number: int,
    is_parameter: bool = True,
) -> tuple[np.ndarray, TensorChange]:
    """Return the combination of one tensor, and its distance from the base or the first model.

    Tensors that are not floats are not combined: they have to be the same in all models.

    Raises:
        TreeError: shapes differ, or values of what is not combined, or one is not finite.
    """
    first = base if base is not None else arrays[0]
    for index, each in enumerate(arrays):
        if each.shape != first.shape:
            raise TreeError(
                name,
                found=f"has shape {list(each.shape)} in model {index + 1}",
                expected=f"{list(first.shape)}, as in {'the base' if base is not None else 'the first'}",
            )
    size = first.size if is_parameter else 0  # buffers take bytes alone
    if dtypes.find(first.dtype.name).kind != "float":
        if any(not np.array_equal(first, each) for each in arrays):
            raise TreeError(
                name,
                found=f"is {first.dtype.name} and differs between the models",
                expected="floats, or the same in all",
            )
        found, measured = first, None
    else:
        for index, each in enumerate(arrays if base is None else [base, *arrays]):
            _check_finite(name, each, index + (base is None))
        found = mixed(arrays, base, mixing, number)
        measured = distance(first, found)
    component = classify(tuple(name.split("/")), first.shape)[1]
    error, snr, cosine, largest = measured or (None,) * 4
    change = TensorChange(
        name=name,
        component=component,
        shape=first.shape,
        before=first.dtype.name,
        after=found.dtype.name,
        parameters_before=size,
        parameters_after=size,
        bytes_before=first.nbytes,
        bytes_after=found.nbytes,
        relative_error=error,
        snr=snr,
        cosine=cosine,
        max_abs=largest,
    )
    return found, change


def _check_finite(name: str, array: np.ndarray, model: int) -> None:
    finite = np.isfinite(array)
    if finite.all():
        return
    index = np.unravel_index(int(finite.argmin()), array.shape)
    what = "NaN" if np.isnan(array[index]) else "an infinity"
    raise TreeError(
        name,
        found=f"holds {what} at {[int(i) for i in index]} in {f'model {model}' if model else 'the base'}",
        expected="numbers that can be combined",
        cure="`explorer stats --check` lists what is not finite",
    )


def combine_trees(
    models: Sequence[Params], base: Params | None, mixing: Mixing, target: str
) -> tuple[Params, Change]:
    """Return one tree from several of one structure, and how far it is from the base.

    Args:
        models: trees of arrays.
        base: what they were trained from, or None.
        mixing: of `mixing_of`.
        target: what the record calls them.

    Raises:
        TreeError: structures, shapes or integer values differ.

    >>> models = [{"kernel": np.zeros(2, "f4")}, {"kernel": np.full(2, 2, "f4")}]
    >>> tree, change = combine_trees(models, None, mixing_of("average", 2, None), "two")
    >>> tree["kernel"], change.tensors[0].max_abs
    (array([1., 1.], dtype=float32), 1.0)
    """
    trees = [*models] if base is None else [base, *models]
    check_tree(*trees)
    flat, treedef = jax.tree_util.tree_flatten_with_path(trees[0])
    columns = [[leaf for _, leaf in flat]]
    for number, tree in enumerate(trees[1:], start=2 - (base is not None)):
        leaves, other = jax.tree.flatten(tree)
        if other != treedef:
            raise TreeError(
                f"model {number}",
                found=f"another structure, {printable(other, 60)}",
                expected=f"that of the {'base' if base is not None else 'first'}",
            )
        columns.append(leaves)
    leaves, changes = [], []
    for number, (path, _) in enumerate(flat):
        arrays = [np.asarray(column[number]) for column in columns]
        anchor = arrays.pop(0) if base is not None else None
        name = "/".join(names_of(path))
        is_float = dtypes.find(arrays[0].dtype.name).kind == "float"
        found, change = combined_tensor(name, arrays, anchor, mixing, number, is_float)
        leaves.append(found)
        changes.append(change)
    record = Change(
        transform=f"merge {mixing.method}", target=target, tensors=tuple(changes)
    )
    return treedef.unflatten(leaves), record
