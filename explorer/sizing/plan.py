"""A subject and a workload -> the plan: terms from every room, and their sums."""

from typing import Any

from msgspec.structs import replace

from explorer.sizing.cache.terms import cache_terms
from explorer.sizing.devices.choice import choose
from explorer.sizing.meshes.placed import check_axes, notes_on
from explorer.sizing.meshes.placement import placement_of
from explorer.sizing.meshes.terms import placed_terms
from explorer.sizing.records import Before, MemoryPlan, Term, Variation, Workload
from explorer.sizing.subject import Subject
from explorer.sizing.variations.subjects import varied_subject
from explorer.sizing.weights.weights import weights_of

__all__ = ["plan_of"]

_CONTEXT = 4096
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
        bare = replace(workload, lora=None, compile=False, topology=None)
        before = _before(plan_of(subject, bare, UNCHANGED, device, optimizer))
    if variation != UNCHANGED:
        subject = varied_subject(subject, variation)
    if workload.context is None:
        workload = replace(workload, context=_CONTEXT)
    choice = None if device is None else choose(device)
    counted = choice is not None and (":" in str(device) or choice.count > 1)
    placement = placement_of(workload, choice.count if choice and counted else None)
    check_axes(subject, placement)
    weights = weights_of(subject, workload, placement, variation.prune)
    terms: list[Term] = [*weights.terms()]
    if subject.architecture is not None and not workload.train:
        terms += cache_terms(subject.architecture, workload, placement)
    terms = placed_terms(terms, subject, placement, workload.zero)
    compiled, said = None, ()
    if workload.compile:
        from explorer.sizing.compiled.compile import with_compiled

        terms, compiled, said = with_compiled(
            terms, subject, workload, placement, optimizer, choice and choice.device.key
        )
    parameters = subject.inventory.num_parameters
    element = weights.bytes / parameters if parameters else 0
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
        compiled=compiled,
        fits=False if compiled is not None and compiled.refused else None,
        notes=(*notes_on(subject, placement, workload, element), *said),
        total_bytes=sum(term.bytes for term in terms),
        low_bytes=sum(term.low for term in terms),
        high_bytes=sum(term.high for term in terms),
        per_device_bytes=sum(term.on_device for term in terms),
    )


def _before(plan: MemoryPlan) -> Before:
    return Before(
        parameters=plan.parameters,
        trainable_parameters=plan.trainable_parameters,
        terms={term.name: term.bytes for term in plan.terms},
        total_bytes=plan.total_bytes,
        per_device_bytes=plan.per_device_bytes,
    )
