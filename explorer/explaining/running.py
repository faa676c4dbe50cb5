"""What a model needs to run: memory, time, money."""

from explorer.analyses.active import multiplied_parameters
from explorer.document.words import counted
from explorer.explaining.facts import Facts, in_words
from explorer.explaining.planned import bytes_of, planned
from explorer.explaining.records import Fact, Topic
from explorer.sizing.records import DeviceFit, MemoryPlan
from explorer.views import units

__all__ = ["cost", "memory", "speed"]

_GPU, _SERVER, _TOKENS = "rtx-4090", "h100", 10**6
_LAPTOP = "laptop-16gb"


def memory(facts: Facts) -> Topic:
    """Return what the parameters take, what else does, and what they fit."""
    at = facts.ledger.bytes_at
    brief = (
        f"Memory is parameters times bytes for each: {facts.ledger.parameters:,} x 2 bytes (16 bits) = "
        f"{units.size(at['16'])}, or {units.size(at['4'])} at 4 bits. "
    )
    details = list(_ON_MEMORY if facts.reads_tokens else _ON_MEMORY_ALONE)
    table: list[Fact] = []
    plan = planned(facts)
    if isinstance(plan, str):
        brief += _ON_TOP if facts.reads_tokens else _WITHOUT_CACHE
        details.append(plan)
    else:
        caches = any(term.name == "kv_cache" and term.bytes for term in plan.terms)
        brief += _as_stored(facts, plan) + (_ON_TOP if caches else _WITHOUT_CACHE)
        brief += _fits(facts, plan)
        names = {
            "kv_cache": "cache of one text",
            "workspace": "working space",
            "reserve": "reserve",
        }
        table = [
            Fact(
                names.get(term.name, term.name),
                term.bytes,
                units.size(term.bytes),
                term.provenance,
            )
            for term in plan.terms
            if term.bytes
        ]
        table.append(Fact("total", plan.total_bytes, units.size(plan.total_bytes)))
        if facts.whole:
            table += _trained(facts)
    return Topic(
        word="memory", question="How much memory does it need, and does it fit?", brief=brief,
        details=tuple(details), facts=tuple(table), command=facts.command("plan"),
    )  # fmt: skip


_WITHOUT_CACHE = "Working space comes on top. "
_ON_TOP = "A cache for the text and working space come on top. "
_WHY = "This is why people ask for the number of parameters: it decides which computer can run a model."
_ON_MEMORY: tuple[str, ...] = (
    f"{_WHY} The cache holds what the model has read (keys and values of each token) and grows with the "
    "length of the text.",
    "Training takes several times as much: a gradient for each parameter, and two further numbers of "
    "the optimizer Adam.",
)
_ON_MEMORY_ALONE = (_WHY, _ON_MEMORY[-1])


def _as_stored(facts: Facts, plan: MemoryPlan) -> str:
    """Return what the parameters take as they are kept, where that is not 16 bits each."""
    stored, number = bytes_of(plan, "parameters", "quantization"), facts.ledger.parameters
    if not number or 15 < 8 * stored / number < 17:
        return ""
    return (
        f"As it is kept, at {8 * stored / number:.3g} bits for each, {facts.name} takes "
        f"{units.size(stored)}. "
    )


def _fits(facts: Facts, plan: MemoryPlan) -> str:
    """Return whether a laptop suffices, as it is and with 4 bits."""
    laptop = _device(plan, _LAPTOP)
    if laptop is None:
        return ""
    words = f"A laptop with 16 GB {'can' if laptop.fits else 'cannot'} run it as it is"
    if laptop.fits or facts.architecture is None:
        return f"{words}."
    small = planned(facts, quantize="Q4_K_M")
    fits = None if isinstance(small, str) else _device(small, _LAPTOP)
    if fits is None:
        return f"{words}."
    return f"{words}; at 4 bits (Q4_K_M) it {'can' if fits.fits else 'cannot either'}."


def _device(plan: MemoryPlan, name: str) -> DeviceFit | None:
    return next((device for device in plan.devices if device.name == name), None)


def _trained(facts: Facts) -> list[Fact]:
    plan = planned(facts, train=True)
    if isinstance(plan, str):
        return []
    state = bytes_of(plan, "parameters", "gradients", "optimizer", "master_parameters")
    how = "parameters, gradients, Adam's state"
    return [Fact("to train all of it", state, units.size(state), how)]


def speed(facts: Facts) -> Topic:
    """Return how fast memory and arithmetic allow a model to answer."""
    plan = planned(facts, device=_GPU)
    bound = None if isinstance(plan, str) else plan.decode_tokens_per_second
    brief, table = _operations(facts, writes=bound is not None)
    details = list(() if bound is None else _ON_SPEED)
    if isinstance(plan, str):
        details.append(plan)
    elif bound is None:
        brief += _NO_TOKENS
    elif not plan.fits:
        brief += f"It does not fit one {_GPU}; a device that holds it is needed first."
    else:
        brief += f"On one {_GPU} it can write at most {units.rate(bound)} tokens a second."
        table.append(
            Fact(f"tokens a second on {_GPU}", bound, units.rate(bound), "at most")
        )
    if bound is not None and facts.whole and facts.architecture is not None:
        table += _small(facts)
    return Topic(
        word="speed", question="How fast is it?", brief=brief, details=tuple(details),
        facts=tuple(table), command=facts.command("plan", f"--device {_GPU}"),
    )  # fmt: skip


def _operations(facts: Facts, writes: bool) -> tuple[str, list[Fact]]:
    """Return what is multiplied for a token, or what is known of a model that reads none."""
    multiplied = multiplied_parameters(facts.inventory)
    if facts.reads_tokens and multiplied is not None:
        number = 2 * multiplied
        how = "2 for each parameter of a matrix product"
        return (
            f"For each token that a model {'writes' if writes else 'reads'}, its matrices are read "
            f"from memory and multiply it once: about {in_words(number)} operations for {facts.name}. "
            "More parameters take more time. ",
            [Fact("operations for a token", number, in_words(number), how)],
        )
    kernels = facts.parameters_of(role="kernel")
    fact = [Fact("weights in kernels", kernels)]
    if not kernels:
        looked_up = facts.parameters_of(role="embedding")
        text = "nothing in it is recognised as a matrix that multiplies"
        if looked_up:
            text = f"rows of its {in_words(looked_up)} numbers are looked up, which multiplies nothing"
        return (
            f"Arithmetic takes time where matrices multiply. In {facts.name} {text}. ",
            fact,
        )
    how_often = "how often each is applied depends on its input"
    if facts.architecture is not None:
        how_often += f" ({facts.command('roles')} counts the operations of a call)"
    return (
        "A layer is read from memory and multiplies each vector that it is applied to: 2 operations "
        f"for each weight of its kernels. {facts.name} has {counted(kernels, 'such weight')}; "
        f"{how_often}. ",
        fact,
    )


_NO_TOKENS = (
    "It is not known to write text token by token, so that no rate of tokens is given."
)
_ON_SPEED: tuple[str, ...] = (
    "Writing is limited by memory: all active parameters are read for each token, so that fewer bits "
    "for each are also faster. Reading a prompt is limited by arithmetic, as many tokens are computed "
    "at once. Both figures are bounds that no program exceeds; real ones reach a good part of them.",
)


def _small(facts: Facts) -> list[Fact]:
    plan = planned(facts, device=_GPU, quantize="Q4_K_M")
    if isinstance(plan, str) or plan.decode_tokens_per_second is None or not plan.fits:
        return []
    bound = plan.decode_tokens_per_second
    return [Fact("the same at 4 bits (Q4_K_M)", bound, units.rate(bound), "at most")]


def cost(facts: Facts) -> Topic:
    """Return what a million tokens cost in dollars and energy, one text at a time."""
    brief = (
        "Cost is time on a machine: its price an hour, or its electric power. More active parameters "
        "take more of both. "
    )
    details, table = list(_ON_COST if facts.reads_tokens else ()), []
    plan = planned(facts, device=_SERVER, tokens=_TOKENS)
    if isinstance(plan, str):
        details.append(plan)
    elif "dollars" not in plan.cost:
        brief += _NO_TOKENS.replace("rate of tokens", "price of tokens")
    elif not plan.fits:
        brief += (
            f"{facts.name} does not fit one {_SERVER}: several are needed, and paid for."
        )
    else:
        dollars, energy = plan.cost["dollars"], plan.cost.get("kilowatt_hours")
        power = f" and {energy:.2g} kWh" if energy else ""
        brief += (
            f"A million tokens of {facts.name}, written one text at a time on one {_SERVER}, take at "
            f"least {units.seconds(plan.cost['seconds'])}: ${dollars:.2f}{power}."
        )
        table = [
            Fact("price", plan.cost["dollars_per_device_hour"],
                 f"${plan.cost['dollars_per_device_hour']:.2f} an hour", plan.cost["price_source"]),
            Fact("a million tokens", dollars, f"${dollars:.2f}", "at most one text at a time"),
            *([Fact("energy", energy, f"{energy:.2g} kWh", "at the board's power")] if energy else []),
        ]  # fmt: skip
    return Topic(
        word="cost", question="What does it cost?", brief=brief, details=tuple(details),
        facts=tuple(table), command=facts.command("plan", f"--device {_SERVER} --tokens {_TOKENS}"),
    )  # fmt: skip


_ON_COST: tuple[str, ...] = (
    "Providers serve many texts at once, which shares the reading of the parameters and makes a token "
    "many times cheaper (--batch). Training costs about 6 operations for each active parameter and "
    "token of its data.",
)
