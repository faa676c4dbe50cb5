"""A subject and a workload -> the plan: terms from every room, and their sums."""

from typing import Any

from msgspec.structs import replace

from explorer.sizing.cache.configs import model_of, unknown_cache
from explorer.sizing.cache.positions import cache_notes, context_or_default
from explorer.sizing.cache.terms import cache_terms
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Before, MemoryPlan, Term, Variation, Workload
from explorer.sizing.subject import Subject
from explorer.sizing.variations.subjects import varied_subject
from explorer.sizing.weights.weights import weights_of

__all__ = ["plan_of"]

UNCHANGED = Variation()


def plan_of(
    subject: Subject,
    workload: Workload,
    variation: Variation = UNCHANGED,
    device: str | None = None,
    optimizer: Any = None,
) -> MemoryPlan:
    """Return what a subject needs for a workload.

    Raises:
        InputError: a workload that the subject cannot have.
    """
    changes = variation != UNCHANGED or workload.lora is not None
    before = None
    if changes:
        bare = replace(workload, lora=None)
        before = _before(plan_of(subject, bare, UNCHANGED, device, optimizer))
    if variation != UNCHANGED:
        subject = varied_subject(subject, variation)
    model = model_of(subject)
    workload = replace(workload, context=context_or_default(model, workload))
    placement = Placement(mesh=workload.mesh)
    weights = weights_of(subject, workload, placement)
    terms: list[Term] = [*weights.terms()]
    not_modelled: tuple[str, ...] = ()
    if model is None and not workload.train:
        not_modelled = (unknown_cache(subject.config),)
    elif model is not None:
        not_modelled = cache_notes(model, workload)
        if not workload.train:
            terms += cache_terms(model, workload, placement)
    parameters = subject.inventory.num_parameters
    return MemoryPlan(
        target=subject.name,
        workload=workload,
        variation=variation,
        before=before,
        engine=workload.engine,
        parameters=parameters,
        trainable_parameters=parameters if workload.train else 0,
        by_type=weights.by_type,
        bits_per_weight=8 * weights.bytes / parameters if parameters else None,
        terms=tuple(terms),
        total_bytes=sum(term.bytes for term in terms),
        low_bytes=sum(term.low for term in terms),
        high_bytes=sum(term.high for term in terms),
        per_device_bytes=sum(term.on_device for term in terms),
        not_modelled=not_modelled,
    )


def _before(plan: MemoryPlan) -> Before:
    return Before(
        parameters=plan.parameters,
        trainable_parameters=plan.trainable_parameters,
        terms={term.name: term.bytes for term in plan.terms},
        total_bytes=plan.total_bytes,
        per_device_bytes=plan.per_device_bytes,
    )
