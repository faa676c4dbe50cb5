"""Plans that topics quote, or why there is none."""

from explorer.errors import InputError
from explorer.explaining.facts import Facts
from explorer.sizing.records import DeviceFit, MemoryPlan

__all__ = ["bytes_of", "fitting", "planned"]


def planned(facts: Facts, **settings: object) -> MemoryPlan | str:
    """Return a plan of a model; where it cannot have one, the sentence that says why."""
    try:
        return facts.plan(**settings)
    except InputError as error:
        return f"This cannot be planned for {facts.name}: {error.found}."


def bytes_of(plan: MemoryPlan, *names: str) -> int:
    """Return the bytes of some terms of a plan."""
    return sum(term.bytes for term in plan.terms if term.name in names)


def fitting(plan: MemoryPlan) -> tuple[DeviceFit | None, DeviceFit | None]:
    """Return the first common device that a plan fits, and the first that it does not."""
    fits = next((device for device in plan.devices if device.fits), None)
    fails = next((device for device in plan.devices if device.fits is False), None)
    return fits, fails
