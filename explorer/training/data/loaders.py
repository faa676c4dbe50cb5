"""Loaders of other libraries: where they are in their data, and their batches as arrays."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorer.errors import InputError, first_line, shown
from explorer.training.data.positions import from_json, is_tensor, to_json

__all__ = ["as_arrays", "go_to", "has_position", "position_of", "warn_without_position"]

# (read it, go back to it): explorer's Batches, grain's iterators, torchdata's loaders
_METHODS = (
    ("state", "restore"),
    ("get_state", "set_state"),
    ("state_dict", "load_state_dict"),
)


def has_position(batches: Any) -> bool:
    """Return whether an iterator says where it is in its data."""
    return _method_of(batches, 0) is not None


def position_of(batches: Any) -> Any:
    """Return where an iterator is in its data, as JSON holds it; None if it does not say.

    Raises:
        InputError: it says so in something else than numbers, texts, bytes, arrays, and
            lists, tuples and dicts of them.

    >>> class Counter:
    ...     def get_state(self): return b"7"
    ...     def set_state(self, state): print("at", state)
    >>> position_of(Counter())
    {'base64': 'Nw=='}
    >>> go_to(Counter(), {"base64": "Nw=="})
    at b'7'
    """
    name = _method_of(batches, 0)
    if name is None:
        return None
    found = getattr(batches, name)()
    try:
        return to_json(found)
    except (TypeError, ValueError):
        raise InputError(
            "batches",
            found=f"{name}() returned {shown(found, 60)}",
            expected="what JSON holds, tuples, bytes or arrays",
        ) from None


def go_to(batches: Any, position: Any) -> None:
    """Put an iterator to where `position_of` found it, or one that began as it did.

    Raises:
        InputError: it cannot be put anywhere.
    """
    name = _method_of(batches, 1)
    if name is None:
        raise InputError(
            "batches",
            found=f"{type(batches).__name__} has no position",
            expected="an iterator with state() and restore(), or get_state() and set_state()",
            cure="pass iter(...) of it, which is trained on" if _has_one(batches) else "",
        )
    if position is None:
        raise InputError(
            "batches",
            found="no position was saved",
            expected="a run whose batches had one",
            cure="leave out batches=, and begin the data anew",
        )
    getattr(batches, name)(from_json(position))


def warn_without_position(batches: Any) -> None:
    """Warn that a run that is resumed would begin its data anew."""
    if not has_position(batches):
        warnings.warn(
            f"batches: {type(batches).__name__} has neither state() nor get_state(): a run "
            "that is resumed begins its data anew; use Batches(...), or an iterator of grain",
            stacklevel=3,
        )


def as_arrays(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches as arrays of their own: a loader may fill its buffers again.

    A step is given its batch before the step before it has ended. Tensors of torch become
    arrays over the same memory, of which one copy is made. A mapping that JAX does not know, such
    as the batches of a tokenizer of transformers, is a dict.
    """
    for batch in batches:
        yield jax.tree.map(_owned, _as_dict(batch), is_leaf=_is_one_array)


def _has_one(batches: Any) -> bool:
    """Return whether what is iterated over makes an iterator, as datasets of grain do."""
    return hasattr(batches, "__iter__") and not hasattr(batches, "__next__")


def _as_dict(batch: Any) -> Any:
    is_unknown = isinstance(batch, Mapping) and jax.tree_util.all_leaves([batch])
    return dict(batch) if is_unknown else batch


def _method_of(batches: Any, which: int) -> str | None:
    """Return the name of the method that reads a position, or of the one that goes to it."""
    names = (pair[which] for pair in _METHODS)
    return next((name for name in names if callable(getattr(batches, name, None))), None)


def _is_one_array(node: Any) -> bool:
    return is_tensor(node) or _is_list_of_numbers(node)


def _is_list_of_numbers(node: Any) -> bool:
    """Return whether these are lists of numbers alone, as Hugging Face's datasets give."""
    if not isinstance(node, list) or not node:
        return False
    return all(
        isinstance(each, bool | int | float) or _is_list_of_numbers(each) for each in node
    )


def _owned(leaf: Any) -> Any:
    if is_tensor(leaf):
        leaf = _of_torch(leaf)
    elif isinstance(leaf, list):
        return _of_lists(leaf)
    elif not isinstance(leaf, np.ndarray | jax.Array) and hasattr(leaf, "__array__"):
        leaf = np.asarray(leaf)  # such as a tensor of TensorFlow
    if not isinstance(leaf, np.ndarray):
        return leaf
    # in this machine's order of bytes, which JAX takes any other for
    return leaf.astype(leaf.dtype.newbyteorder("="), copy=True)


def _of_lists(numbers: list[Any]) -> np.ndarray:
    """Return lists of numbers as an array.

    Raises:
        InputError: they are of unequal lengths.
    """
    try:
        return np.array(numbers)
    except ValueError:
        raise InputError(
            "the batch",
            found="lists of numbers of unequal lengths",
            expected="lists of one length, or arrays",
            cure="pad them in the loader",
        ) from None


def _of_torch(tensor: Any) -> np.ndarray:
    """Return a tensor of torch over the same memory.

    Raises:
        InputError: NumPy has nothing like it: it is sparse, has no values, or is packed.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        if name == "bfloat16":  # which NumPy has from ml_dtypes, and torch does not know
            torch: Any = sys.modules["torch"]
            return tensor.detach().cpu().view(torch.int16).numpy().view(jnp.bfloat16)
        return tensor.detach().cpu().resolve_neg().numpy()
    except (TypeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise InputError(
            "the batch",
            found=f"a tensor of torch of {name}, {shown(str(tensor.layout), 40)}, on "
            f"{tensor.device}: {first_line(error)}",
            expected="dense tensors of numbers",
            cure="convert it in the loader",
        ) from None
