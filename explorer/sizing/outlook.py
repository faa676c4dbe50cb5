"""A plan of memory -> what it fits, how long a context, how fast, for how much, what would help."""

from collections.abc import Callable
from functools import cache
from typing import Any

from msgspec.structs import replace

from explorer.analyses.active import active_parameters
from explorer.architectures.attention_specs import AttentionSpec
from explorer.sizing.devices.catalog import COMMON, find_device, prices
from explorer.sizing.devices.choice import DeviceChoice
from explorer.sizing.devices.fitting import LONGEST, fit_of, fits_of
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import MemoryPlan, Speed
from explorer.sizing.speed.bounds import ModelWork, speed_of
from explorer.sizing.subject import Subject
from explorer.sizing.terms import Built, varying_terms

__all__ = ["outlook_of"]

# the share of a device that a server takes, its own settings: vllm's gpu_memory_utilization
# and sglang's usual mem_fraction_static
_TAKEN = {"vllm": 0.9, "sglang": 0.88}


def outlook_of(
    plan: MemoryPlan,
    subject: Subject,
    built: Built,
    placement: Placement,
    choice: DeviceChoice | None,
) -> MemoryPlan:
    """Return a plan with what it fits, the longest context, bounds of speed, and cost."""
    single = Placement()
    alone = _bytes_for(plan, subject, built, single)
    most = _positions(built)
    devices = fits_of(
        (find_device(name) for name in COMMON),
        sum(t.bytes for t in plan.terms),
        alone,
        most,
    )
    plan = replace(plan, devices=devices)
    if choice is None:
        return plan
    device = choice.device
    taken = _TAKEN.get(plan.engine, 1.0)
    offered = replace(device, usable=device.usable * taken)
    on_mesh = _bytes_for(plan, subject, built, placement)
    fit = fit_of(offered, placement.devices, plan.per_device_bytes, on_mesh, most)
    refused = plan.compiled is not None and bool(plan.compiled.refused)
    speed = _speed(plan, subject, built, placement, choice)
    return replace(
        plan,
        fits=fit.fits and not refused,
        longest_context=fit.longest_context,
        decode_tokens_per_second=speed.decode_tokens_per_second,
        prefill_seconds=speed.prefill_seconds,
        speed=speed,
        cost=_cost(plan, speed, choice, placement),
    )


def _bytes_for(
    plan: MemoryPlan, subject: Subject, built: Built, placement: Placement
) -> Callable[[int], int] | None:
    """Return bytes on the fullest device as a function of the context; None where it is not one."""
    if built.model is None:
        return None
    single = placement.devices == 1
    fixed = sum(term.bytes if single else term.on_device for term in built.fixed)

    @cache
    def needed(context: int) -> int:
        workload = replace(plan.workload, context=context)
        terms = varying_terms(subject, built.model, workload, placement)
        return fixed + sum(term.bytes if single else term.on_device for term in terms)

    return needed


def _positions(built: Built) -> int:
    positions = getattr(built.model, "positions", None)
    return positions or LONGEST


def _speed(
    plan: MemoryPlan,
    subject: Subject,
    built: Built,
    placement: Placement,
    choice: DeviceChoice,
) -> Speed:
    work = work_of(subject, built, plan)
    return speed_of(work, plan.workload, choice.device, placement)


def work_of(subject: Subject, built: Built, plan: MemoryPlan) -> ModelWork:
    """Return what one token's step reads and computes."""
    active = active_parameters(subject.inventory)
    multiplied = None
    if active is not None:
        without = active.without_input_embedding
        multiplied = active.with_embedding_and_head if without is None else without
    width = 0
    if subject.architecture is not None:
        for block in subject.architecture.blocks():
            attention = block.attention
            if isinstance(attention, AttentionSpec):
                width += attention.heads * attention.head_size
            else:
                keys = attention.nope + attention.rope.size
                width += attention.heads * (keys + attention.value_size) // 2
    kept = ("kv_cache", "recurrent_state")
    return ModelWork(
        active_parameters=multiplied,
        attention_width=width,
        read_bytes=built.weights.bytes_read(plan.workload.batch),
        cache_bytes=sum(term.low for term in plan.terms if term.name in kept),
        is_causal=any(term.name == "kv_cache" and term.bytes for term in plan.terms),
    )


def _cost(
    plan: MemoryPlan, speed: Speed, choice: DeviceChoice, placement: Placement
) -> dict[str, Any]:
    """Return what tokens cost, where a price is given or known; all of it a bound."""
    given, device = plan.workload.price, choice.device
    price = device.price if given is None else given
    found: dict[str, Any] = {}
    if price is not None:
        source = (
            "given" if given is not None else f"assumed: {prices().source}, {prices().date}"
        )
        found |= {"dollars_per_device_hour": price, "price_source": source}
    seconds = speed.seconds_for_tokens
    if seconds is None:
        return found
    hours = seconds / 3600 * placement.devices
    found |= {"tokens": plan.workload.tokens, "seconds": seconds, "device_hours": hours}
    if price is not None:
        found["dollars"] = hours * price
    if device.watts is not None:
        found["kilowatt_hours"] = hours * device.watts / 1000
    return found
