"""Trees of weights -> trees of quantised ones, with a record of what changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from explorer.arguments import check_kinds, check_tree_given
from explorer.document.words import counted
from explorer.errors import InputError, printable
from explorer.inventory.tensor import Kind
from explorer.paths import Key, name_of, path_of
from explorer.transforms.measure import check_kept, distance, lost_note, overflow
from explorer.transforms.quantisation.integers import Integers
from explorer.transforms.quantisation.pieces import Array, is_host
from explorer.transforms.quantisation.quantized import Quantized
from explorer.transforms.quantisation.qwix_arrays import from_qwix, is_qwix
from explorer.transforms.quantisation.selection import Chosen, Selection
from explorer.transforms.records import Change, TensorChange
from explorer.tree.arrays import check_not_donated
from explorer.tree.nest import nest
from explorer.tree.nesting import check_tree

__all__ = [
    "LoadedTensor",
    "Quantiser",
    "dequantise",
    "quantise_tensors",
    "quantise_tree",
    "round_trips",
]


class LoadedTensor(NamedTuple):
    """A tensor of a file, whose values are read when they are asked for."""

    key: Key
    kind: Kind
    load: Callable[[], Any]


class Quantiser:
    """Quantises the tensors that a selection chooses, and records what that changes.

    Args:
        selection: which, and how.
        measure: whether errors are measured.
        given: tensors that are quantised already, by name; taken where one is chosen.
        notes: what the record says beside the selection's own note.
    """

    def __init__(
        self,
        selection: Selection,
        measure: bool = True,
        given: Mapping[str, Quantized] | None = None,
        notes: tuple[str, ...] = (),
    ):
        check_kinds(("measure", measure, "True or False"))
        self.selection, self.measure = selection, measure
        self.given, self.notes = given or {}, notes
        self.changes: list[TensorChange] = []
        self.ragged = 0  # tensors whose last groups are smaller

    def __call__(self, key: Key, kind: Kind, load: Callable[[], Array]) -> Quantized | None:
        """Return a tensor quantised, or None where it stays; what happens is recorded."""
        if not kind.is_parameter:
            return None
        chosen = self.selection.of(key, kind)
        if chosen is None:
            self.changes.append(_change(key, kind, kind.dtype, kind.nbytes))
            return None
        weights = load()
        check_finite(name_of(key), weights)
        found = self.given.get(name_of(key))
        if found is None:
            found = Quantized.of(weights, chosen.codec.scheme, chosen.inputs_first)
        errors = self._errors(name_of(key), weights, found)
        self.changes.append(_change(key, kind, found.codec.name, found.nbytes, **errors))
        self.ragged += _is_ragged(found)
        return found

    def _errors(self, name: str, weights: Array, found: Quantized) -> dict[str, Any]:
        if not self.measure or not _is_concrete(weights):
            return {}
        with np.errstate(all="ignore"):  # what overflows is refused below
            after = np.asarray(found)
        if not np.isfinite(after).all():
            raise overflow(name, np.asarray(weights), found.codec.name)
        lost = distance(np.asarray(weights), after)
        check_kept(name, lost, found.codec.name)
        errors = {**lost._asdict(), "note": lost_note(lost.relative_error)}
        return {**errors, "zeros": int(after.size - np.count_nonzero(after))}

    def change(self) -> Change:
        """Return the record of all tensors.

        Raises:
            InputError: none was quantised.
        """
        if not any(each.after != each.before for each in self.changes):
            raise self.selection.nothing([each.name for each in self.changes])
        return Change(
            transform=f"quantize {self.selection.scheme}",
            target=self.selection.inventory.target,
            tensors=tuple(self.changes),
            notes=(self.selection.note, *self.notes, *self._of_groups()),
        )

    def _of_groups(self) -> tuple[str, ...]:
        if not self.ragged:
            return ()
        return (
            f"{counted(self.ragged, 'tensor')} with a smaller last group of inputs, which "
            "the files of compressed-tensors cannot hold",
        )


def _is_ragged(tensor: Quantized) -> bool:
    """Return whether groups of integers do not divide the inputs."""
    layout = tensor.codec.layout
    if not isinstance(layout, Integers) or not layout.group:
        return False
    return tensor.matrix[0 if tensor.inputs_first else 1] % layout.group > 0


def _change(key: Key, kind: Kind, after: str, nbytes: int, **errors: Any) -> TensorChange:
    return TensorChange(
        name=name_of(key),
        component=kind.component,
        shape=kind.shape,
        before=kind.dtype,
        after=after,
        parameters_before=kind.size,
        parameters_after=kind.size,
        bytes_before=kind.nbytes,
        bytes_after=nbytes,
        **errors,
    )


def quantise_tree(
    tree: Any, arrays: Iterable[tuple[Key, Any]], quantiser: Quantiser
) -> tuple[Any, Change]:
    """Return a tree with quantised tensors in the places of some of its arrays, and the record.

    Args:
        tree: any pytree; it is not changed.
        arrays: its arrays with the keys of the inventory.
        quantiser: which decides.
    """
    columns = quantiser.selection.inventory.columns
    kinds = {key: columns.kind(index) for index, key in enumerate(columns.keys)}
    aliases = {columns.keys[index] for index in columns.aliases}
    found: dict[int, Any] = {}
    for key, array in arrays:
        if key not in aliases and hasattr(array, "dtype"):
            quantised = quantiser(key, kinds[key], lambda array=array: array)
            if quantised is not None:
                found[id(array)] = quantised
    change = quantiser.change()
    return jax.tree.map(lambda leaf: found.get(id(leaf), leaf), tree), change


def round_trips(
    arrays: Iterable[tuple[Key, Any]], selection: Selection
) -> dict[str, Callable[[Any], tuple[Any, int]]]:
    """Return what a scheme makes of each tensor that it stores, by name: the weights and the bytes."""
    columns = selection.inventory.columns
    kinds = {key: columns.kind(index) for index, key in enumerate(columns.keys)}
    aliases = {columns.keys[index] for index in columns.aliases}
    found: dict[str, Callable[[Any], tuple[Any, int]]] = {}
    for key, array in arrays:
        chosen = None
        if key not in aliases and hasattr(array, "dtype"):
            chosen = selection.of(key, kinds[key])
        if chosen is not None:
            name = name_of(key)
            found[name] = partial(_there_and_back, name, chosen)
    return found


def _there_and_back(name: str, chosen: Chosen, weights: Any) -> tuple[Any, int]:
    check_finite(name, weights)
    tensor = Quantized.of(weights, chosen.codec.scheme, chosen.inputs_first)
    return tensor.dequantize(), tensor.nbytes


def quantise_tensors(
    tensors: Iterable[LoadedTensor], quantiser: Quantiser
) -> tuple[dict[str, Any], Change]:
    """Return the tensors of a file as a nested dict, some of them quantised, and the record."""
    leaves = dict(_leaves(tensors, quantiser))
    return nest(leaves), quantiser.change()


def _leaves(
    tensors: Iterable[LoadedTensor], quantiser: Quantiser
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, kind, load in tensors:
        found = quantiser(key, kind, load)
        yield path_of(key), load() if found is None else found


def dequantise(tree: Any) -> Any:
    """Return a tree with plain arrays in the places of quantised tensors, qwix's too."""

    check_tree_given("tree", tree, "a tree that quantize returned")
    check_tree(tree)

    def is_quantised(node: Any) -> bool:
        return isinstance(node, Quantized) or is_qwix(node)

    def plain(leaf: Any) -> Any:
        if isinstance(leaf, Quantized):
            return leaf.dequantize()
        return from_qwix(leaf) if is_qwix(leaf) else leaf

    return jax.tree.map(plain, tree, is_leaf=is_quantised)


def _is_concrete(array: Any) -> bool:
    return is_host(array) or (
        isinstance(array, jax.Array) and not isinstance(array, Tracer)
    )


def check_finite(name: str, weights: Any) -> None:
    """Refuse weights that are not finite.

    Raises:
        InputError: one is NaN or infinite; the message says where.
    """
    check_not_donated(name, weights)
    if not _is_concrete(weights):
        return
    array = np.asarray(weights)
    with np.errstate(all="ignore"):
        # one such number makes the sum one; a sum that overflows is checked again
        if not array.size or np.isfinite(array.sum(dtype=np.float32)):
            return
    is_wrong = ~np.isfinite(array)
    if not is_wrong.any():
        return
    index = np.unravel_index(int(is_wrong.argmax()), array.shape)
    found = array[index]
    raise InputError(
        printable(name),
        found=f"{'NaN' if np.isnan(found) else 'an infinite number'} at [{', '.join(map(str, index))}]",
        expected="finite weights",
    )
