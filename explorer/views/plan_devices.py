"""What a plan fits, how fast it is, what it costs and what would help, in lines of text."""

from collections.abc import Iterable
from typing import Any

from explorer.sizing.records import DeviceFit, MemoryPlan
from explorer.views import units

__all__ = ["answer_items"]

_LEGEND = "(behind a name: the longest context that fits, in tokens)"


def answer_items(plan: MemoryPlan) -> tuple[tuple[str, str], ...]:
    """Return pairs of a word and a line: parameters, devices, speed, cost, advice."""
    number = plan.devices[0].count if plan.devices else 1
    items = [
        ("model", _parameters(plan)),
        (
            f"{number:,} suffice ✓" if number > 1 else "fits one ✓",
            _names(each for each in plan.devices if each.fits),
        ),
        ("too large ✗", _names(each for each in plan.devices if each.fits is False)),
        ("", _LEGEND if any(each.longest_context for each in plan.devices) else ""),
        ("at once", _at_once(plan)),
        ("speed", _speed(plan)),
        ("cost", _cost(plan.cost)),
        ("all tokens", _tokens(plan)),
        ("to make it fit", "; or ".join(plan.advice)),
    ]
    return tuple((name, text) for name, text in items if text)


def _parameters(plan: MemoryPlan) -> str:
    text = f"{plan.parameters:,} parameters"
    if plan.bits_per_weight is not None:
        text += f", {plan.bits_per_weight:.5g} bits each"
    if plan.workload.train:
        share = units.share(plan.trainable_parameters, plan.parameters)
        text += f"; {plan.trainable_parameters:,} are trained ({share})"
    return text


def _at_once(plan: MemoryPlan) -> str:
    """Return how many sequences fit together, where at least one does."""
    found = plan.concurrency
    if found is None or not found.whole:
        return ""
    several = "sequences" if found.whole > 1 else "sequence"
    return (
        f"{found.whole:,} {several} of {plan.workload.context:,} tokens fit {plan.device}, "
        f"{found.tokens:,} tokens in all"
    )


def _names(fits: Iterable[DeviceFit]) -> str:
    """Return names, each with the longest context.

    >>> _names([DeviceFit(name="h100", count=1, memory=80, fits=True, longest_context=131072)])
    'h100 131k'
    """
    return ", ".join(
        f"{each.name} {units.tokens(each.longest_context)}"
        if each.longest_context
        else each.name
        for each in fits
    )


def _speed(plan: MemoryPlan) -> str:
    speed, parts = plan.speed, []
    if speed is None:
        return ""
    if speed.decode_tokens_per_second is not None:
        parts.append(f"at most {units.rate(speed.decode_tokens_per_second)} tokens/s")
    if speed.prefill_seconds is not None:
        what = "the prompts take" if plan.workload.batch > 1 else "a full prompt takes"
        text = f"{what} at least {units.seconds(speed.prefill_seconds)}"
        if speed.prefill_seconds_measured is not None:
            measured = units.seconds(speed.prefill_seconds_measured)
            text += f", {measured} at the best measured {speed.peak_dtype} rate"
        parts.append(text)
    if speed.train_tokens_per_second is not None:
        rate = units.rate(speed.train_tokens_per_second)
        parts.append(f"at most {rate} tokens/s are trained, at the {speed.peak_dtype} peak")
    if parts and not plan.fits:
        parts.append("if it fitted")
    return "; ".join(parts)


def _cost(cost: dict[str, Any]) -> str:
    if "dollars_per_device_hour" not in cost:
        return ""
    text = f"${cost['dollars_per_device_hour']:.2f} a device hour, {cost['price_source']}"
    if "dollars_per_million_tokens" not in cost:
        return text
    return f"at least ${cost['dollars_per_million_tokens']:.2g} a million tokens, at {text}"


def _tokens(plan: MemoryPlan) -> str:
    cost = plan.cost
    if cost.get("seconds") is None:
        return ""
    time = units.seconds(cost["seconds"])
    measured = plan.speed.seconds_for_tokens_measured if plan.speed else None
    if measured is not None:
        time += f" ({units.seconds(measured)} at the best measured rate)"
    parts = [time, f"{units.rate(cost['device_hours'])} device hours"]
    if "dollars" in cost:
        parts.append(f"${cost['dollars']:,.2f}")
    if "kilowatt_hours" in cost:
        parts.append(f"{units.rate(cost['kilowatt_hours'])} kWh")
    return f"{cost['tokens']:,} take at least {', '.join(parts)}"
