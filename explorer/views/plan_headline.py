"""A memory plan in one sentence."""

from math import prod

from explorer.sizing.devices.catalog import find_device
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import MemoryPlan
from explorer.views import units

__all__ = ["headline"]


def headline(plan: MemoryPlan) -> str:
    """Return what is needed for what, and what it fits.

    >>> import explorer as ex
    >>> headline(ex.plan("gpt2", engine="llama.cpp", device="rtx-4090"))  # doctest: +ELLIPSIS
    'gpt2 needs ... for one sequence of 1,024 tokens at float32: fits rtx-4090 (24 GB), ...'
    """
    doubt = ""
    if plan.low_bytes != plan.high_bytes:
        doubt = f" ({units.span(plan.low_bytes, plan.high_bytes)})"
    text = f"{plan.target} needs {units.size(plan.total_bytes)}{doubt} for {_what(plan)}"
    if plan.mesh:
        text += (
            f", {units.size(plan.per_device_bytes)} of each of {_number(plan):,} devices"
        )
    return f"{text}: {_fits(plan)}" if plan.devices else text


def _number(plan: MemoryPlan) -> int:
    """Return how many devices the plan is for."""
    return prod(plan.mesh.values())


def _what(plan: MemoryPlan) -> str:
    """Return the workload in words."""
    workload = plan.workload
    batch = Placement(mesh=plan.mesh).rounded(workload.batch)
    number = batch * (workload.parallel if plan.engine == "llama.cpp" else 1)
    words = [f"{number:,} sequences" if number > 1 else "one sequence"]
    if workload.context:
        tokens = "tokens" if workload.context > 1 else "token"
        shared = plan.engine == "llama.cpp" and workload.parallel > 1
        of = "that share" if shared else "of"
        total = workload.context * (batch if shared else 1)
        words.append(f"{of} {total:,} {tokens}")
    words.append(f"at {_stored_as(plan)}")
    if workload.train:
        adapters = " of adapters" if workload.lora else ""
        words.insert(0, f"training{adapters} on")
    return " ".join(words)


def _stored_as(plan: MemoryPlan) -> str:
    """Return what the weights are stored as: a scheme, or the type of most of them."""
    kinds = plan.by_type
    most = max(kinds, key=lambda name: kinds[name].elements, default="no parameters")
    return plan.workload.quantize or most


def _fits(plan: MemoryPlan) -> str:
    if plan.device is None:
        return _fits_one(plan)
    if plan.compiled is not None and plan.compiled.refused:
        return f"the compiler refuses it for {plan.device}"
    name, _, number = plan.device.partition(":")
    where = plan.device
    if name != "here":
        where += f" ({find_device(name).printed}{' each' if number else ''})"
    if not plan.fits:
        return f"does not fit {where}"
    if plan.longest_context is None:
        return f"fits {where}"
    return f"fits {where}, up to a context of {plan.longest_context:,} tokens"


def _fits_one(plan: MemoryPlan) -> str:
    """Return which of the common devices is the smallest that suffices, alone or as a mesh."""
    fitting = [each for each in plan.devices if each.fits]
    if not fitting:
        return "more than any one of the common devices has"
    least = min(fitting, key=lambda each: each.memory)
    high = sum(term.of_each().high for term in plan.terms)
    doubt = "" if high <= least.memory else ", with nothing to spare"
    memory = find_device(least.name).printed
    if plan.mesh:
        return f"{_number(plan):,} x {least.name} ({memory} each) suffice{doubt}"
    return f"one {least.name} ({memory}) suffices{doubt}"
