"""A plan that does not fit -> options to type that would make it fit, found by planning again."""

from collections.abc import Callable, Iterator
from typing import Any

from explorer.errors import InputError
from explorer.sizing.devices.catalog import Device
from explorer.sizing.meshes.placement import Placement, mesh_text
from explorer.sizing.meshes.table import slices_of, smallest_slice
from explorer.sizing.records import Lora, MemoryPlan

__all__ = ["Replan", "advice_for"]

# settings and a mesh -> bytes on the fullest device
Replan = Callable[[dict[str, Any], Placement], int]
_Option = tuple[str, dict[str, Any]]

# from the least loss to the most; each engine's own formats
_SCHEMES = {
    "llama.cpp": ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"),
    "vllm": ("fp8", "awq"),
    "sglang": ("fp8", "awq"),
    "jax": ("int8", "int4:g128"),
}
_KV = {"llama.cpp": "q8_0", "vllm": "fp8", "sglang": "fp8", "jax": "int8"}
_LORA = Lora(rank=16)
_IN_MACHINES = ("NVIDIA", "AMD", "Google")  # vendors whose devices work side by side


def advice_for(
    plan: MemoryPlan, device: Device, placement: Placement, replan: Replan
) -> tuple[str, ...]:
    """Return options, each of which suffices alone: one of the model, the context, devices.

    Args:
        plan: that does not fit.
        device: with the share of its memory that is offered.
        placement: the mesh of the plan.
        replan: bytes on the fullest device with settings changed; planning is quick.
    """
    memory = device.usable_memory
    options = [*(_training if plan.workload.train else _inference)(plan)]
    found = _first(options, replan, placement, memory)
    shortest = plan.longest_context
    if shortest is not None and shortest >= 64:
        found.append(f"--context {shortest} is the longest that fits")
    more = _devices(plan, device, placement, replan)
    return (*found, *([more] if more else []))


def _first(options: list[_Option], replan: Replan, on: Placement, memory: int) -> list[str]:
    """Return the first option that suffices, if any; the last saves most, and is tried first."""
    for number, (words, settings) in enumerate((*options[-1:], *options)):
        needed = _needed(replan, settings, on)
        suffices = needed is not None and needed <= memory
        if number == 0 and needed is not None and not suffices:
            return []
        if number > 0 and needed is not None and suffices:
            return [f"{words} needs {_gb(needed)}"]
    return []


def _needed(replan: Replan, settings: dict[str, Any], on: Placement) -> int | None:
    try:
        return replan(settings, on)
    except InputError:  # a scheme that the matrices do not divide
        return None


def _inference(plan: MemoryPlan) -> Iterator[_Option]:
    """Yield options from the least loss to the most."""
    schemes, kv = _below(plan.workload.quantize, _SCHEMES[plan.engine]), _KV[plan.engine]
    has_cache = any(term.name == "kv_cache" and term.bytes for term in plan.terms)
    if has_cache and plan.workload.kv_dtype is None:
        yield f"--kv-dtype {kv}", {"kv_dtype": kv}
    for scheme in schemes:
        yield f"--quantize {scheme}", {"quantize": scheme}
    if has_cache and plan.workload.kv_dtype is None:
        for scheme in schemes:
            yield (
                f"--quantize {scheme} --kv-dtype {kv}",
                {"quantize": scheme, "kv_dtype": kv},
            )


def _below(scheme: str | None, schemes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the schemes that take less than one; all of them for None."""
    if scheme is None:
        return schemes
    return schemes[schemes.index(scheme) + 1 :] if scheme in schemes else ()


def _training(plan: MemoryPlan) -> Iterator[_Option]:
    """Yield options from the least change of what is trained to the most."""
    full = {"remat": "full"}
    if plan.workload.remat != "full":
        yield "--remat full", full
    if plan.workload.lora is None:
        yield "--lora rank=16", {"lora": _LORA}
        yield "--lora rank=16 --remat full", {"lora": _LORA, **full}
    if plan.workload.quantize is None:
        lora = plan.workload.lora or _LORA
        words = "" if plan.workload.lora else "--lora rank=16 "
        packed = {"lora": lora, "quantize": "nf4"}
        yield f"{words}--quantize nf4", packed
        yield f"{words}--quantize nf4 --remat full", {**packed, **full}


def _devices(
    plan: MemoryPlan, device: Device, placement: Placement, replan: Replan
) -> str | None:
    """Return the option that names the fewest devices that suffice, on one axis."""
    if device.vendor not in _IN_MACHINES or (placement.mesh and not placement.implied):
        return None
    counts = _counts(plan, device, placement)
    axis = "fsdp" if plan.workload.train else "tensor"
    changes: list[_Option] = [("", {})]
    if plan.workload.train and plan.workload.remat != "full":
        changes.append((" --remat full", {"remat": "full"}))
    for words, settings in changes:

        def needed_on(mesh: Placement, settings: dict[str, Any] = settings) -> int:
            return replan({"mesh": mesh.mesh, **settings}, mesh)

        found = smallest_slice(needed_on, device.usable_memory, (axis,), counts)
        if found is not None and found.per_device_bytes is not None:
            needed = f"needs {_gb(found.per_device_bytes)} of each"
            name = f"--device {device.key}:{found.devices}"
            return f"{name}{words} {needed} ({mesh_text(found.mesh)})"
    return None


def _counts(plan: MemoryPlan, device: Device, placement: Placement) -> list[int]:
    """Return the next few numbers of devices that could suffice."""
    least = max(placement.devices + 1, -(-_fixed(plan) // max(device.usable_memory, 1)))
    kind = "tpu" if device.vendor == "Google" else "gpu"
    return [count for count in slices_of(kind) if count >= least][:4]


def _fixed(plan: MemoryPlan) -> int:
    """Return the bytes that devices share whatever is computed."""
    varying = ("activations", "logits", "workspace", "reserve")
    return sum(term.low for term in plan.terms if term.name not in varying)


def _gb(nbytes: int) -> str:
    return f"{nbytes / 10**9:.1f} GB"
