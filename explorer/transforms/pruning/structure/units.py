"""The units of a layer: which entries of which parameters belong to each, and which are kept.

A unit of a feed-forward network is a row of its gate and up projections (a column of the kernels in
Flax's layout) and the column of its down projection that it feeds. A head is its rows of the query,
key and value projections and its columns of the output projection.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from explorer.architectures.architecture import BlockSpec
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.specs import MlpSpec
from explorer.transforms.pruning.patterns import Pattern
from explorer.transforms.pruning.selection import lowest, lowest_of_rows
from explorer.transforms.pruning.structure.architectures import (
    head_cut,
    kept_experts,
    shared_width,
    width,
)

__all__ = ["Cut", "cuts_of"]

Path = tuple[str, ...]
Leaves = Mapping[Path, np.ndarray]


class Cut(NamedTuple):
    """An axis of a parameter, and the entries along it that are kept.

    `kept` is [entries]; [experts, entries] where each expert keeps others.
    """

    path: Path
    axis: int
    kept: np.ndarray

    def applied(self, array: np.ndarray) -> np.ndarray:
        """Return what is kept of an array.

        >>> Cut((), 1, np.array([0, 2])).applied(np.array([[1, 2, 3]]))
        array([[1, 3]])
        """
        if self.kept.ndim == 1:
            return np.take(array, self.kept, self.axis)
        shape = [1] * array.ndim
        shape[0], shape[self.axis] = self.kept.shape
        return np.take_along_axis(array, self.kept.reshape(shape), self.axis)

    def masked(self, array: np.ndarray) -> np.ndarray:
        """Return an array with zeros in the place of what is not kept.

        >>> Cut((), 1, np.array([0, 2])).masked(np.array([[1, 2, 3]]))
        array([[1, 0, 3]])
        """
        entries = array.shape[self.axis]
        if self.kept.ndim == 1:
            mask = np.zeros(entries, bool)
            mask[self.kept] = True
            shape = [1] * array.ndim
            shape[self.axis] = entries
        else:
            mask = np.zeros((len(self.kept), entries), bool)
            np.put_along_axis(mask, self.kept, True, 1)
            shape = [1] * array.ndim
            shape[0], shape[self.axis] = mask.shape
        return np.where(mask.reshape(shape), array, np.zeros((), array.dtype))


def cuts_of(
    block: BlockSpec, pattern: Pattern, leaves: Leaves, energies: Leaves
) -> list[Cut]:
    """Return what is cut from the parameters of a layer.

    Args:
        block: the layer.
        pattern: rows, columns, heads or experts, and the share that is removed.
        leaves: its parameters, by path.
        energies: how much each entry of its kernels matters, of which the units with the lowest
            sums are removed; the first of equal ones.
    """
    match pattern.kind:
        case "heads":
            cuts = _heads(block, pattern, energies)
        case "experts":
            cuts = _experts(block, pattern, leaves, energies)
        case _:
            cuts = _units(block, pattern, energies)
    return [cut for cut in cuts if cut.path in leaves]


def _kept(scores: np.ndarray, removed: int) -> np.ndarray:
    return np.flatnonzero(~lowest(scores, removed))


def _units(block: BlockSpec, pattern: Pattern, energies: Leaves) -> Iterator[Cut]:
    if block.mlp is not None:
        yield from _mlp(block.mlp, ("mlp",), width(block.mlp, pattern), pattern, energies)
    if block.moe is None:
        return
    own, moe = block.moe.experts, block.moe
    yield from _mlp(own, ("moe", "experts"), width(own, pattern), pattern, energies)
    if moe.shared_experts is not None:
        path = ("moe", "shared_experts")
        kept = shared_width(moe, pattern)
        yield from _mlp(moe.shared_experts, path, kept, pattern, energies)


def _mlp(
    mlp: MlpSpec, path: Path, number: int, pattern: Pattern, energies: Leaves
) -> Iterator[Cut]:
    """Yield what is cut from a feed-forward network, or from a stack of them."""
    front = ("gate_proj", "up_proj") if mlp.gate_proj is not None else ("up_proj",)
    if pattern.kind == "columns":
        scores = energies[(*path, "down_proj", "kernel")].sum(-1)
    else:
        scores = np.sum([energies[(*path, name, "kernel")].sum(-2) for name in front], 0)
    removed = scores.shape[-1] - number
    if scores.ndim == 1:
        kept = _kept(scores, removed)
    else:
        mask = lowest_of_rows(scores, removed)
        kept = np.stack([np.flatnonzero(~row) for row in mask])
    rank = scores.ndim
    for name in front:
        yield Cut((*path, name, "kernel"), rank, kept)
        yield Cut((*path, name, "bias"), rank - 1, kept)
    yield Cut((*path, "down_proj", "kernel"), rank - 1, kept)


def _heads(block: BlockSpec, pattern: Pattern, energies: Leaves) -> Iterator[Cut]:
    attention, path = block.attention, ("attention",)
    cut = head_cut(attention, pattern)
    heads = attention.heads
    out = energies[(*path, "out", "kernel")]
    scores = out.reshape(heads, -1).sum(1)
    if not isinstance(attention, AttentionSpec):
        kept = _kept(scores, cut.groups)
        for name in ("query", "query_up", "latent_up"):
            linear = getattr(attention, name)
            if linear is not None:
                yield from _outputs((*path, name), _entries(kept, linear.outputs // heads))
        size = attention.value_size
        yield Cut((*path, "out", "kernel"), 0, _entries(kept, size))
        return
    groups = attention.kv_heads
    if cut.groups:
        kept_groups = _kept(scores.reshape(groups, -1).sum(1), cut.groups)
        kept = _entries(kept_groups, heads // groups)
    else:
        kept_groups = np.arange(groups)
        mask = lowest_of_rows(scores.reshape(groups, -1), cut.queries)
        kept = np.flatnonzero(~mask)
    size = attention.head_size
    yield from _outputs((*path, "query"), _entries(kept, size))
    for name in ("key", "value"):
        yield from _outputs((*path, name), _entries(kept_groups, size))
    yield Cut((*path, "out", "kernel"), 0, _entries(kept, size))
    yield Cut((*path, "sinks", "sinks"), 0, kept)


def _outputs(path: Path, kept: np.ndarray) -> Iterator[Cut]:
    yield Cut((*path, "kernel"), 1, kept)
    yield Cut((*path, "bias"), 0, kept)


def _entries(units: np.ndarray, size: int) -> np.ndarray:
    """Return the entries of units of one size: unit 2 of 4 entries is 8, 9, 10, 11."""
    return (units[:, None] * size + np.arange(size)).reshape(-1)


def _experts(
    block: BlockSpec, pattern: Pattern, leaves: Leaves, energies: Leaves
) -> Iterator[Cut]:
    if block.moe is None:
        return
    router, path = block.moe.router, ("moe", "experts")
    own = [each for name, each in energies.items() if name[:2] == path]
    scores = np.sum([each.reshape(router.experts, -1).sum(1) for each in own], 0)
    removed = (router.experts - kept_experts(block.moe, pattern)) // router.groups
    mask = lowest_of_rows(scores.reshape(router.groups, -1), removed)
    kept = np.flatnonzero(~mask)
    for name in leaves:
        if name[:2] == path:
            yield Cut(name, 0, kept)
    yield Cut(("moe", "router", "kernel"), 1, kept)
    yield Cut(("moe", "router", "bias"), 0, kept)
    yield Cut(("moe", "router", "e_score_correction_bias"), 0, kept)
