"""A plan of memory -> what it fits, how long a context, how fast, for how much, what would help."""

from collections.abc import Callable
from functools import cache
from typing import Any

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.sizing.advice import Replan, advice_for
from explorer.sizing.cache.concurrency import USABLE, concurrency
from explorer.sizing.devices.catalog import COMMON, Device, find_device
from explorer.sizing.devices.choice import DeviceChoice
from explorer.sizing.devices.fitting import LONGEST, fit_of, fits_of
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Concurrency, MemoryPlan, Speed, Term
from explorer.sizing.speed.bounds import speed_of
from explorer.sizing.speed.formulas import dollars, kilowatt_hours
from explorer.sizing.subject import Subject
from explorer.sizing.terms import Built, varying_terms
from explorer.sizing.training.batch import image_tokens
from explorer.sizing.work import work_of

__all__ = ["outlook_of"]

_SERVERS = ("vllm", "sglang")  # take their share of a device at once
_LEFT_OUT = ("fragmentation of the allocator, other programs, offloading to the host",)
_BETWEEN = "communication between devices, in times"


def outlook_of(
    plan: MemoryPlan,
    subject: Subject,
    built: Built,
    placement: Placement,
    choice: DeviceChoice | None,
    replan: Replan,
) -> MemoryPlan:
    """Return a plan with what it fits, the longest context, bounds of speed, cost and advice.

    Args:
        plan: with its terms.
        subject, built, placement: what they were made from.
        choice: the device asked about.
        replan: what terms are with other settings.
    """
    most = max(_positions(built), plan.workload.context or 1)
    count, needed_at = placement.devices, _bytes_for(plan, subject, built, placement)
    common = (_offered(find_device(name), plan) for name in COMMON)
    devices = fits_of(common, count, plan.per_device_bytes, needed_at, most)
    plan = replace(plan, devices=devices, not_modelled=(*plan.not_modelled, *_LEFT_OUT))
    if choice is None:
        return plan
    offered = _offered(choice.device, plan)
    fit = fit_of(offered, count, plan.per_device_bytes, needed_at, most)
    refused = plan.compiled is not None and bool(plan.compiled.refused)
    speed = speed_of(
        work_of(subject, built, plan, placement), plan.workload, choice.device, count
    )
    plan = replace(
        plan,
        device=replace(choice, count=count).words,
        fits=fit.fits and not refused,
        longest_context=fit.longest_context,
        concurrency=_concurrency(plan, built, placement, offered),
        decode_tokens_per_second=speed.decode_tokens_per_second,
        prefill_seconds=speed.prefill_seconds,
        speed=speed,
        cost=_cost(plan, speed, choice.device, count),
        notes=(*plan.notes, *_notes(plan, choice.device)),
        not_modelled=(*plan.not_modelled, *([_BETWEEN] if count > 1 else [])),
    )
    if plan.fits or refused:
        return plan
    return replace(plan, advice=advice_for(plan, offered, placement, replan))


def _concurrency(
    plan: MemoryPlan, built: Built, placement: Placement, offered: Device
) -> Concurrency | None:
    """Return how many sequences of the context fit in what the weights leave free.

    None where no cache grows with them. The workspace is that of the plan's own batch.
    """
    kept = [term for term in plan.terms if term.name in ("kv_cache", "recurrent_state")]
    if built.model is None or plan.workload.train or not any(term.bytes for term in kept):
        return None
    others = sum(term.on_device for term in plan.terms if term not in kept)
    free = max(0, offered.usable_memory - others)
    return concurrency(built.model, plan.workload, free, placement)


def _offered(device: Device, plan: MemoryPlan) -> Device:
    """Return a device with the share of its memory that the engine takes."""
    return replace(
        device,
        usable=device.usable * (USABLE[plan.engine] if plan.engine in _SERVERS else 1),
    )


def _notes(plan: MemoryPlan, device: Device) -> tuple[str, ...]:
    """Return what to know about how an engine takes a device's memory."""
    share = USABLE[plan.engine]
    if plan.engine in _SERVERS:
        return (f"{plan.engine} takes {share:.0%} of a device unless it is set otherwise",)
    is_gpu = device.vendor in ("NVIDIA", "AMD")
    if plan.engine == "jax" and is_gpu and plan.per_device_bytes > share * device.memory:
        return (
            f"JAX takes {share:.0%} of a GPU at most: XLA_PYTHON_CLIENT_MEM_FRACTION=.95",
        )
    return ()


def _bytes_for(
    plan: MemoryPlan, subject: Subject, built: Built, placement: Placement
) -> Callable[[int], int] | None:
    """Return bytes on the fullest device as a function of the context; None where it is not one."""
    if built.model is None:
        return None
    single = placement.devices == 1

    def held(terms: list[Term]) -> int:
        return sum(term.bytes if single else term.on_device for term in terms)

    fixed = held(built.fixed)

    @cache
    def needed(context: int) -> int:
        workload = replace(plan.workload, context=context)
        return fixed + held(varying_terms(subject, built.model, workload, placement))

    return needed


def _positions(built: Built) -> int:
    positions = getattr(built.model, "positions", None)
    if isinstance(built.model, Architecture):
        positions = image_tokens(built.model) or positions
    return positions or LONGEST


def _cost(plan: MemoryPlan, speed: Speed, device: Device, count: int) -> dict[str, Any]:
    """Return what tokens cost at least, where a price is given or known."""
    given = plan.workload.price
    price = device.price if given is None else given
    found: dict[str, Any] = {}
    if price is not None:
        source = f"assumed ({device.price_source})" if given is None else "given"
        found |= {"dollars_per_device_hour": price, "price_source": source}
    rate = speed.decode_tokens_per_second or speed.train_tokens_per_second
    if price is not None and rate:
        found["dollars_per_million_tokens"] = dollars(1e6 / rate, count, price)
    seconds = speed.seconds_for_tokens
    if seconds is None:
        return found
    hours = seconds / 3600 * count
    found |= {"tokens": plan.workload.tokens, "seconds": seconds, "device_hours": hours}
    if price is not None:
        found["dollars"] = dollars(seconds, count, price)
    if device.watts is not None:
        found["kilowatt_hours"] = kilowatt_hours(seconds, count, device.watts)
    return found
