"""A subject and a workload -> the plan: terms from every room, what they fit, how fast they are."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from explorer.sizing.devices.choice import DeviceChoice, choose
from explorer.sizing.meshes.placed import check_axes, notes_on
from explorer.sizing.meshes.placement import Placement, placement_of
from explorer.sizing.meshes.sequences import check_sequence
from explorer.sizing.outlook import outlook_of
from explorer.sizing.records import Before, MemoryPlan, Term, Variation, Workload
from explorer.sizing.subject import Subject
from explorer.sizing.terms import Built, build, settled
from explorer.sizing.variations.subjects import varied_subject

if TYPE_CHECKING:
    from explorer.sizing.device_records import CompiledMemory

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

    Args:
        subject: the model.
        workload: what it is to do.
        variation: changes of it before it is planned.
        device: a name, with a number or without.
        optimizer: an optax transformation instead of the workload's name.

    Raises:
        InputError: a workload or a variation that the subject cannot have.
    """
    before = None
    if variation != UNCHANGED or workload.lora is not None:
        bare = replace(workload, lora=None, compile=False, topology=None)
        if workload.train:  # quantised weights are trained by adapters alone
            bare = replace(bare, quantize=None)
        before = _before(plan_of(subject, bare, UNCHANGED, device, optimizer))
    if variation != UNCHANGED:
        subject = varied_subject(subject, variation)
    choice = None if device is None else choose(device)
    placement = _placement(workload, choice, device)
    check_axes(subject, placement)
    asked, workload = workload, settled(subject, workload)
    wanted, workload = workload, _raised(workload, placement)
    check_sequence(subject, workload, placement)
    built = build(subject, workload, placement, variation.prune, optimizer)
    terms, compiled, said = _compiled(
        built, subject, workload, placement, optimizer, choice
    )
    parameters = subject.inventory.num_parameters
    element = built.weights.bytes / parameters if parameters else 0
    plan = MemoryPlan(
        target=subject.name,
        workload=workload,
        variation=variation,
        before=before,
        engine=workload.engine,
        device=None if choice is None else choice.words,
        mesh=placement.mesh if placement.devices > 1 else {},
        parameters=parameters,
        trainable_parameters=built.trainable,
        by_type=built.weights.by_type,
        bits_per_weight=8 * element if parameters else None,
        terms=tuple(terms),
        compiled=compiled,
        notes=(*built.notes, *notes_on(subject, placement, wanted, element), *said),
        total_bytes=sum(term.bytes for term in terms),
        low_bytes=sum(term.low for term in terms),
        high_bytes=sum(term.high for term in terms),
        per_device_bytes=sum(term.on_device for term in terms),
        not_modelled=built.not_modelled,
    )

    def replan(settings: dict[str, Any], mesh: Placement) -> int:
        changed = settled(subject, replace(asked, **settings))
        terms = build(subject, changed, mesh, variation.prune, optimizer).terms
        return sum(term.on_device for term in terms)

    return _over_all(outlook_of(plan, subject, built, placement, choice, replan), placement)


def _raised(workload: Workload, placement: Placement) -> Workload:
    """Return a workload of as many sequences as are planned on a mesh."""
    return replace(workload, batch=placement.rounded(workload.batch))


def _over_all(plan: MemoryPlan, placement: Placement) -> MemoryPlan:
    """Return a plan whose terms and totals are those of all devices, each as the fullest one."""
    if placement.devices == 1:
        return plan
    terms = tuple(term.on_all(placement.devices) for term in plan.terms)
    return replace(
        plan,
        terms=terms,
        total_bytes=sum(term.bytes for term in terms),
        low_bytes=sum(term.low for term in terms),
        high_bytes=sum(term.high for term in terms),
    )


def _placement(
    workload: Workload, choice: DeviceChoice | None, device: str | None
) -> Placement:
    """Return the mesh that was asked for, or that a number of devices implies."""
    counted = choice is not None and (":" in str(device) or choice.count > 1)
    return placement_of(workload, choice.count if choice and counted else None)


def _compiled(
    built: Built,
    subject: Subject,
    workload: Workload,
    placement: Placement,
    optimizer: Any,
    choice: DeviceChoice | None,
) -> "tuple[list[Term], CompiledMemory | None, tuple[str, ...]]":
    """Return the terms, the compiler's instead of estimates where it is asked."""
    if not workload.compile:
        return built.terms, None, ()
    from explorer.sizing.compiled.compile import with_compiled

    key = choice and choice.device.key
    return with_compiled(built.terms, subject, workload, placement, optimizer, key)


def _before(plan: MemoryPlan) -> Before:
    return Before(
        parameters=plan.parameters,
        trainable_parameters=plan.trainable_parameters,
        terms={term.name: term.bytes for term in plan.terms},
        total_bytes=plan.total_bytes,
        per_device_bytes=plan.per_device_bytes,
    )
