"""The terms of a plan: weights, and what inference or training needs beside them."""

from typing import Any

import msgspec
from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.sizing.cache.configs import model_of, unknown_cache
from explorer.sizing.cache.layers import CacheLayout
from explorer.sizing.cache.positions import cache_notes, context_or_default
from explorer.sizing.cache.terms import cache_terms
from explorer.sizing.devices.reserve import reserve_term
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.meshes.terms import placed_terms
from explorer.sizing.records import Term, Workload
from explorer.sizing.subject import Subject
from explorer.sizing.training.batch import batch_terms, image_tokens
from explorer.sizing.training.lora import ranks_above
from explorer.sizing.training.state import state_terms
from explorer.sizing.training.terms import (
    adapters_of,
    trainable_parameters,
    training_notes,
    with_adapters,
)
from explorer.sizing.weights.totals import Weights
from explorer.sizing.weights.weights import weights_of

__all__ = ["Built", "build", "settled", "varying_terms"]


class Built(msgspec.Struct, frozen=True):
    """The terms of a plan, and what they were made from.

    Attributes:
        terms: all of them, with the bytes of the fullest device.
        fixed: those of them that do not depend on the context.
        weights: the stored weights.
        model: what says what layers keep; None where nothing does.
        trainable: parameters that are trained.
        notes: what to know of the workload's settings.
        not_modelled: what the terms leave out.
    """

    terms: list[Term]
    fixed: list[Term]
    weights: Weights
    model: Architecture | CacheLayout | None
    trainable: int
    notes: tuple[str, ...]
    not_modelled: tuple[str, ...]


def settled(subject: Subject, workload: Workload) -> Workload:
    """Return a workload without open settings: its context, and the dtype that is trained.

    Parameters are trained in float32 and computed with in bfloat16 unless a dtype is asked
    for: optax's states are kept in the parameters' own. A model below adapters keeps its dtype.
    """
    context = context_or_default(model_of(subject), workload)
    context = image_tokens(subject.architecture) or context
    full = workload.train and workload.lora is None and workload.quantize is None
    if not full or workload.dtype is not None:
        return replace(workload, context=context)
    compute = workload.compute_dtype or "bfloat16"
    return replace(workload, context=context, dtype="float32", compute_dtype=compute)


def build(
    subject: Subject,
    workload: Workload,
    placement: Placement,
    prune: str | None = None,
    optimizer: Any = None,
) -> Built:
    """Return the terms of a settled workload.

    Raises:
        InputError: a scheme, a dtype, an optimizer or targets that do not exist.
    """
    weights = weights_of(subject, workload, placement, prune)
    model = model_of(subject)
    fixed = with_adapters([*weights.terms()], adapters_of(subject, workload))
    if workload.train:
        fixed += state_terms(subject, workload, optimizer, placement)
    fixed = placed_terms(fixed, subject, placement, workload.zero)
    fixed.append(reserve_term(workload, placement))
    varying = varying_terms(subject, model, workload, placement)
    order = [*fixed[:-1], *varying, fixed[-1]]
    return Built(
        order,
        fixed,
        weights,
        model,
        trainable_parameters(subject, workload),
        _notes(subject, model, workload),
        _left_out(subject, model, workload),
    )


def varying_terms(
    subject: Subject,
    model: Architecture | CacheLayout | None,
    workload: Workload,
    placement: Placement,
) -> list[Term]:
    """Return the terms that depend on the context: cache and workspace, or activations."""
    if workload.train:
        if subject.architecture is None:
            return []
        return batch_terms(subject.architecture, workload, placement)
    return [] if model is None else [*cache_terms(model, workload, placement)]


def _notes(
    subject: Subject, model: Architecture | CacheLayout | None, workload: Workload
) -> tuple[str, ...]:
    """Return warnings: a context beyond the positions, a rank above a matrix."""
    notes = cache_notes(model, workload) if model is not None else ()
    if workload.lora is None or subject.architecture is None:
        return notes
    return (*notes, *ranks_above(subject.architecture, workload.lora))


def _left_out(
    subject: Subject, model: Architecture | CacheLayout | None, workload: Workload
) -> tuple[str, ...]:
    if workload.train:
        return training_notes(subject, workload)
    return () if model is not None else (unknown_cache(subject),)
