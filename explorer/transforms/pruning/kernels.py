"""Tensors one after the other -> the same with exactly so many zeros, and what changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from explorer.errors import InputError
from explorer.inventory.tensor import Kind
from explorer.transforms.measure import distance
from explorer.transforms.pruning import scores as by
from explorer.transforms.pruning.matrices import MatrixView
from explorer.transforms.pruning.patterns import Pattern, PruneSettings
from explorer.transforms.pruning.planning import check_groups
from explorer.transforms.pruning.selection import (
    below_limit,
    limit_of,
    lowest,
    lowest_of_rows,
    outside_n_of_m,
)
from explorer.transforms.records import TensorChange
from explorer.tree.arrays import check_concrete

__all__ = [
    "Evidence",
    "Prunable",
    "PrunedTensor",
    "mask_of",
    "prune_tensors",
]

Rows = np.ndarray


class Prunable(NamedTuple):
    """A tensor of a model.

    Attributes:
        name: its path, joined by "/".
        kind: what is known of it.
        view: as matrices; None where it is not to be pruned.
        load: returns its values.
    """

    name: str
    kind: Kind
    view: MatrixView | None
    load: Callable[[], Any]


class Evidence(NamedTuple):
    """What methods know beside the weights, by the name of a tensor.

    Attributes:
        squares: [stack, inputs], sums of the squares of inputs.
        hessians: [stack, inputs, inputs], sums of the products of inputs.
        gradients: of the loss, in the shape of the tensor.
        solve: returns the pruned rows [outputs, inputs] of a matrix for its Hessian.
    """

    squares: Mapping[str, Any] = {}
    hessians: Mapping[str, Any] = {}
    gradients: Mapping[str, Any] = {}
    solve: Callable[[Rows, Any, Pattern], Rows] | None = None


_NO_EVIDENCE = Evidence()


class PrunedTensor(NamedTuple):
    """A tensor and its values afterwards; those that were loaded where nothing changed."""

    tensor: Prunable
    values: Any
    change: TensorChange


def prune_tensors(
    tensors: Callable[[], Iterable[Prunable]],
    settings: PruneSettings,
    evidence: Evidence = _NO_EVIDENCE,
) -> Iterator[PrunedTensor]:
    """Yield each tensor of a model, pruned if it has a view; one is in memory at a time.

    Args:
        tensors: yields them; called several times where all are compared with all.
        settings: what is pruned.
        evidence: what the method needs beside the weights.

    Raises:
        InputError: NaN or an infinity in a kernel, n:m groups that do not divide its inputs, or
            evidence that it lacks.
    """
    if settings.scope == "global":
        masks = _global_masks(tensors, settings, evidence)
    else:
        masks = None
    for tensor in tensors():
        values = tensor.load()
        if tensor.view is None:
            yield PrunedTensor(tensor, values, _unchanged(tensor, values))
            continue
        check_concrete(tensor.name, values)
        array = np.asarray(values)
        rows = tensor.view.rows(array)
        if settings.by == "sparsegpt":
            after = _solved(tensor, rows, settings, evidence)
        else:
            if masks is None:
                found = mask_of(_scores(tensor, rows, settings, evidence), settings)
            else:
                found = next(masks)
            after = np.where(found, np.zeros((), rows.dtype), rows)
        result = np.ascontiguousarray(tensor.view.restored(after))
        yield PrunedTensor(tensor, result, _changed(tensor, array, result))


def mask_of(scores: Rows, settings: PruneSettings) -> np.ndarray:
    """Return the mask of a kernel, true where it is pruned.

    Args:
        scores: [stack, outputs, inputs].
        settings: with another scope than "global". With "tensor" the entries of a matrix are
            compared, with "group" those of an output.

    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> scores = np.array([[[4.0, 3.0], [2.0, 1.0]]])
    >>> mask_of(scores, PruneSettings(parse_pattern("0.5"))).astype(int)
    array([[[0, 0],
            [1, 1]]])
    >>> mask_of(scores, PruneSettings(parse_pattern("0.5"), scope="group")).astype(int)
    array([[[0, 1],
            [0, 1]]])
    """
    pattern = settings.pattern
    _, outputs, inputs = scores.shape
    if pattern.kind == "n:m":
        return outside_n_of_m(scores, pattern.kept, pattern.block)
    if pattern.kind in ("rows", "columns"):
        axis = 2 if pattern.kind == "rows" else 1
        norms = np.square(scores.astype(np.float64)).sum(axis)
        number = pattern.number(outputs if pattern.kind == "rows" else inputs)
        mask = np.expand_dims(lowest_of_rows(norms, number), axis)
        return np.broadcast_to(mask, scores.shape)
    if settings.scope == "group":
        return lowest_of_rows(scores, pattern.number(inputs))
    number = pattern.number(outputs * inputs)
    return np.stack([lowest(each, number) for each in scores])


def _global_masks(
    tensors: Callable[[], Iterable[Prunable]], settings: PruneSettings, evidence: Evidence
) -> Iterator[np.ndarray]:
    kernels = [each for each in tensors() if each.view is not None]
    total = sum(each.kind.size for each in kernels)

    def passes() -> Iterator[np.ndarray]:
        for each in tensors():
            if each.view is not None:
                rows = each.view.rows(np.asarray(each.load()))
                yield _scores(each, rows, settings, evidence)

    limit = limit_of(passes, settings.pattern.number(total))
    return below_limit(passes(), limit)


def _scores(
    tensor: Prunable, rows: Rows, settings: PruneSettings, evidence: Evidence
) -> np.ndarray:
    """Return how much each entry matters, [stack, outputs, inputs]."""
    _check_rows(tensor, rows, settings)
    name = tensor.name
    if settings.by == "wanda":
        return by.wanda(rows, np.asarray(_known(evidence.squares, name, settings)))
    if settings.by == "movement":
        assert tensor.view is not None
        gradients = np.asarray(_known(evidence.gradients, name, settings))
        return by.movement(rows, tensor.view.rows(gradients))
    if settings.by == "random":
        return by.random(rows, name, settings.seed)
    return by.magnitude(rows)


def _solved(
    tensor: Prunable, rows: Rows, settings: PruneSettings, evidence: Evidence
) -> Rows:
    _check_rows(tensor, rows, settings)
    assert evidence.solve is not None
    hessians = _known(evidence.hessians, tensor.name, settings)
    found = [
        evidence.solve(each.astype(np.float32), hessian, settings.pattern)
        for each, hessian in zip(rows, hessians, strict=True)
    ]
    return np.stack(found).astype(rows.dtype)


def _known(evidence: Mapping[str, Any], name: str, settings: PruneSettings) -> Any:
    if name in evidence:
        return evidence[name]
    raise InputError(
        name,
        found=f"no inputs of it were seen, which {settings.by} needs",
        expected="kernels that the calibration data pass through",
        cure="leave it out by select=, or prune by magnitude",
    )


def _check_rows(tensor: Prunable, rows: Rows, settings: PruneSettings) -> None:
    if tensor.view is not None:
        check_groups(tensor.name, tensor.view, settings.pattern)
    finite = np.isfinite(rows)
    if not finite.all():
        values = np.asarray(tensor.load())
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        what = "NaN" if np.isnan(values[tuple(place)]) else "an infinity"
        raise InputError(
            tensor.name, found=f"holds {what} at {place}", expected="finite weights"
        )


def _changed(tensor: Prunable, before: np.ndarray, after: np.ndarray) -> TensorChange:
    found = distance(before, after)
    return _record(
        tensor,
        after,
        zeros=int(after.size - np.count_nonzero(after)),
        relative_error=found.relative_error,
        snr=found.snr,
        cosine=found.cosine,
        max_abs=found.max_abs,
    )


def _unchanged(tensor: Prunable, values: Any) -> TensorChange:
    return _record(tensor, values)


def _record(tensor: Prunable, values: Any, **measured: Any) -> TensorChange:
    kind = tensor.kind
    number = kind.size if kind.is_parameter else 0  # buffers take bytes alone
    return TensorChange(
        name=tensor.name,
        component=kind.component,
        shape=kind.shape,
        before=kind.dtype,
        after=getattr(getattr(values, "dtype", None), "name", kind.dtype),
        parameters_before=number,
        parameters_after=number,
        bytes_before=kind.nbytes,
        bytes_after=getattr(values, "nbytes", kind.nbytes),
        **measured,
    )
