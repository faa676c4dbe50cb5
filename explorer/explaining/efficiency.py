"""Fewer, smaller or partly idle parameters: quantisation, pruning, experts, LoRA."""

from explorer.analyses.active import ActiveParameters
from explorer.document.words import counted
from explorer.errors import InputError
from explorer.explaining.facts import Facts, share
from explorer.explaining.planned import bytes_of, planned
from explorer.explaining.records import Fact, Topic
from explorer.sizing.settings import Lora
from explorer.views import units

__all__ = ["experts", "lora", "pruning", "quantisation"]

_SCHEME, _RANK, _PATTERN = "Q4_K_M", 16, "2:4"
WITH_EXPERTS = "mixtral-8x7b"  # what shows a mixture where a model is dense


def quantisation(facts: Facts) -> Topic:
    """Return what the parameters take at fewer bits."""
    ledger = facts.ledger
    at = ledger.bytes_at
    brief = (
        "Quantisation stores each parameter in fewer bits, less exactly; their number stays the same. "
        f"{facts.name}: {units.size(at['16'])} at 16 bits, {units.size(at['8'])} at 8, "
        f"{units.size(at['4'])} at 4."
    )
    stored = ledger.bits_per_weight
    if stored is not None and ledger.file_bytes is not None:
        brief += f" Its file holds {units.bits(stored)} bits for each."
    details = [
        "A bit is a 0 or a 1. With 32 bits (float32) a number has about seven decimal digits; bfloat16 "
        "and float16, the usual 16 bits, have two or three; 4 bits have 16 values in all, so small "
        "blocks of parameters share a scale that stretches them to the right range.",
        "The scales are stored too, and sensitive tensors keep more bits: a 4-bit file takes somewhat "
        "more than 4 bits for each parameter. What is lost is small at 8 bits, often acceptable at 4, "
        "and grows quickly below.",
    ]
    table = [
        Fact(f"at {width} bits", nbytes, units.size(nbytes)) for width, nbytes in at.items()
    ]
    if facts.whole and facts.architecture is not None:
        plan = planned(facts, quantize=_SCHEME)
        if isinstance(plan, str):
            details.append(plan)
        elif plan.bits_per_weight is not None:
            nbytes = bytes_of(plan, "parameters", "quantization")
            how = f"{units.bits(plan.bits_per_weight)} bits for each, scales included"
            table.append(Fact(f"as {_SCHEME} (llama.cpp)", nbytes, units.size(nbytes), how))
    if facts.inventory.file_bytes is not None and len(ledger.dtypes) > 1:
        table += [
            Fact(f"stored as {name}", number, f"{number:,}", "numbers")
            for name, number in ledger.dtypes.items()
        ]
    is_known = facts.architecture is not None
    return Topic(
        word="quantisation", question="What is quantisation?", brief=brief, details=tuple(details),
        facts=tuple(table), command=facts.command("quantize", f"--to {_SCHEME} --plan", is_known),
    )  # fmt: skip


def pruning(facts: Facts) -> Topic:
    """Return what zeros in half of the kernels would save."""
    brief = "Pruning removes parameters that contribute little, or sets them to zero. "
    table: list[Fact] = []
    zeros, kernels = 0, 0
    try:
        change = facts.prune(_PATTERN)
    except InputError as error:
        brief += (
            f"It is done in the kernels of layers. That of {facts.name} cannot be planned: "
            f"{error.found}."
        )
    else:
        pruned = [each for each in change.tensors if each.zeros is not None]
        kernels, zeros = sum(each.parameters_before for each in pruned), change.zeros or 0
        brief += (
            f"In half of the {kernels:,} weights in the kernels of the layers of {facts.name}, that "
            f"would be {zeros:,} zeros."
        )
        table += [Fact("weights in kernels of layers", kernels), Fact("zeros", zeros)]
    details = [
        "A zero takes as much memory as another number unless the format leaves it out and stores "
        f"where the others are. In the pattern {_PATTERN}, two of each four weights stay, which GPUs can "
        "use to compute faster; whole heads, layers or experts can be removed instead, and the model "
        "then simply has fewer parameters.",
        "A model answers worse the more is pruned, until it is trained further.",
    ]
    if facts.whole and kernels and facts.architecture is not None:
        plan = planned(facts, prune=_PATTERN, dtype="bfloat16")
        if isinstance(plan, str):
            details.append(plan)
        elif plan.before is not None:
            before = plan.before.terms["parameters"]
            after = bytes_of(plan, "parameters", "quantization")
            how = "of the layers; with their places"
            table += [
                Fact("all parameters at 16 bits", before, units.size(before)),
                Fact("the same with 2 of 4 kept", after, units.size(after), how),
            ]
    return Topic(
        word="pruning", question="What is pruning?", brief=brief, details=tuple(details),
        facts=tuple(table), command=facts.command("prune", f"--pattern {_PATTERN} --plan", kernels > 0),
    )  # fmt: skip


def experts(facts: Facts) -> Topic:
    """Return how many parameters one token uses; of another model where it uses all."""
    card, total = facts.inventory.card, facts.ledger.parameters
    what = (
        "In a mixture of experts (MoE) a layer has several networks side by side, and a router sends "
        "each token to a few of them: only some of the parameters are active for each. "
    )
    mixture = facts
    if card is None or not card.experts:
        routed = facts.parameters_of(component="experts")
        if routed:
            what += (
                f"{facts.name} has experts, {counted(routed, 'parameter')} of them, but nothing beside "
                "it says how many a token uses. "
            )
        else:
            what += f"{facts.name} has no experts: each {'token' if facts.reads_tokens else 'input'} uses all {total:,}. "
        mixture = facts.example(WITH_EXPERTS)
    return Topic(
        word="mixture of experts", question="What is a mixture of experts?",
        brief=what + _mixture(mixture), details=_ON_EXPERTS, facts=_expert_facts(mixture),
        command=mixture.command("show", "--by component"),
    )  # fmt: skip


def _mixture(facts: Facts) -> str:
    card, active = facts.inventory.card, facts.ledger.active_parameters
    if card is None or active is None:
        return ""
    number, total = _active(active), facts.ledger.parameters
    return (
        f"{facts.name} has {card.experts:,} experts in a layer, of which a token uses "
        f"{card.experts_per_token:,}: {number:,} of {total:,} parameters are active "
        f"({share(number, total)})."
    )


def _active(active: ActiveParameters) -> int:
    return getattr(active, active.publisher or "with_embedding_and_head")


def _expert_facts(facts: Facts) -> tuple[Fact, ...]:
    active = facts.ledger.active_parameters
    number = None if active is None else _active(active)
    return (
        Fact(f"parameters of {facts.name}", facts.ledger.parameters),
        Fact("in experts", facts.parameters_of(component="experts")),
        Fact(
            "active for one token", number, "not known" if number is None else f"{number:,}"
        ),
    )


_ON_EXPERTS = (
    "Memory must hold all parameters, as any expert may be next; time and energy follow the active "
    "ones. So a mixture can hold as much as a large model and answer as quickly as a small one, and "
    "its count of parameters says less of its speed than that of a dense model.",
)


def lora(facts: Facts) -> Topic:
    """Return how few parameters adapters train, and what memory that saves."""
    brief = (
        "LoRA fine-tunes a model by training two thin matrices beside some of its kernels while the "
        "model itself stays as it is (frozen); QLoRA also keeps the frozen model in 4 bits. "
    )
    details = [_by_hand(facts), *_ON_LORA]
    table: tuple[Fact, ...] = ()
    plan = (
        planned(facts, train=True, lora=Lora(rank=_RANK))
        if facts.architecture is not None
        else f"No config says which matrices of {facts.name} are queries and values, so that "
        "adapters are not planned for it."
    )
    if isinstance(plan, str):
        brief += plan
    else:
        number, total = plan.trainable_parameters, facts.ledger.parameters
        brief += (
            f"With rank {_RANK} on the queries and values of {facts.name}, {number:,} parameters are "
            f"trained: {share(number, total)} of {total:,}."
        )
        table = _training(facts, number) if facts.whole else ()
    return Topic(
        word="LoRA", question="What is LoRA, what is QLoRA?", brief=brief,
        details=tuple(filter(None, details)), facts=table,
        command=facts.command("lora add", f"--rank {_RANK} --plan", not isinstance(plan, str)),
    )  # fmt: skip


def _by_hand(facts: Facts) -> str:
    """Return the arithmetic of one adapter, on the largest kernel of attention, where there is one."""
    shapes = [
        (kind.component == "attention", kind.shape[-2:])
        for kind, _, _ in facts.inventory.kinds
        if kind.is_parameter
        and kind.role == "kernel"
        and len(kind.shape) - len(kind.stack) == 2
    ]
    if not shapes:
        return ""
    _, (one, other) = max(shapes, key=lambda found: (found[0], found[1][0] * found[1][1]))
    return (
        f"Beside a kernel of {one:,} x {other:,} = {counted(one * other, 'weight')}, an adapter of rank {_RANK} "
        f"has {_RANK} x ({one:,} + {other:,}) = {_RANK * (one + other):,}."
    )


_ON_LORA = (
    "Only the adapters need gradients and the optimizer's numbers, which take most of the memory of "
    "training. Afterwards they can be added into the kernels (merged), or kept as a small file beside "
    "the model.",
)
_STATE = ("parameters", "quantization", "gradients", "optimizer", "master_parameters")


def _training(facts: Facts, trained: int) -> tuple[Fact, ...]:
    """Return the memory of the parameters and their state in training: full, LoRA, QLoRA."""
    rows = [
        Fact(
            "trained parameters",
            trained,
            f"{trained:,}",
            share(trained, facts.ledger.parameters),
        )
    ]
    adapters = Lora(rank=_RANK)
    ways: tuple[tuple[str, dict[str, object]], ...] = (
        ("all parameters trained", {}),
        ("LoRA", {"lora": adapters}),
        ("QLoRA (nf4)", {"lora": adapters, "quantize": "nf4"}),
    )
    for name, settings in ways:
        plan = planned(facts, train=True, **settings)
        if isinstance(plan, str):
            rows.append(Fact(name, None, "not planned", plan))
        else:
            nbytes = bytes_of(plan, *_STATE)
            rows.append(
                Fact(name, nbytes, units.size(nbytes), "parameters, gradients, optimizer")
            )
    return tuple(rows)
