"""The tensors of a model: how many, of which ranks, which is the largest, what is not learned."""

from collections import Counter
from math import prod

from explorer.analyses.ledger import Ledger
from explorer.document.words import counted
from explorer.explaining.facts import Facts
from explorer.explaining.records import Fact, Topic
from explorer.inventory.tensor import TensorSpec
from explorer.views import units

__all__ = ["tensor"]

_RANKS = {
    0: "a single number", 1: "lists of numbers (vectors)", 2: "tables of numbers (matrices)",
    3: "blocks with three dimensions", 4: "blocks with four dimensions",
}  # fmt: skip


def tensor(facts: Facts) -> Topic:
    """Return how many arrays the parameters are kept in, and what one holds."""
    ledger = facts.ledger
    claim = ledger.advertised.parameters if ledger.advertised else ""
    brief = (
        f"A tensor is one array of numbers: a list, a table, or a block with more dimensions. "
        f"{facts.name} keeps its {counted(ledger.parameters, 'parameter')} (the books) in "
        f"{counted(ledger.parameter_tensors, 'tensor')} ({'the shelf' if ledger.parameter_tensors == 1 else 'the shelves'})."
    )
    if claim:
        brief += f' "{claim}" counts the books: it is not the number of tensors.'
    details, largest = [], facts.largest
    if largest is not None:
        details.append(_of_one(largest))
    details.append(f"Of its tensors, {_ranks(facts)}.")
    other = ledger.tensors - ledger.parameter_tensors
    details.append(
        "A tensor of numbers that training does not learn (positions, scales, running averages and the "
        "like) is a buffer, or state: stored, but not parameters. "
        f"{facts.name} has {counted(other, 'such tensor')}."
        if other
        else "A tensor of numbers that training does not learn would be a buffer, or state, and not "
        f"count: {facts.name} has none."
    )
    details += _in_checkpoints(ledger)
    details.append(
        "Models are packed in tensors because GPUs and TPUs compute with whole arrays at once, and "
        "because libraries such as JAX find the derivative of a result by every number of a tensor "
        "automatically, which learning needs."
    )
    per = ledger.parameters / ledger.parameter_tensors if ledger.parameter_tensors else 0
    known = ledger.provenance
    table = (
        Fact("parameters", ledger.parameters, how=known["parameters"]),
        Fact("tensors of parameters", ledger.parameter_tensors, how=known["tensors"]),
        Fact("parameters in each, on average", round(per)),
        Fact("other tensors", other),
    )
    return Topic(
        word="tensor", question="What is a tensor?", brief=brief, details=tuple(details),
        facts=table, command=facts.command("show"),
    )  # fmt: skip


def _of_one(largest: TensorSpec) -> str:
    sizes, stack = largest.shape, largest.kind.stack
    product = " x ".join(f"{size:,}" for size in sizes) or "1"
    text = f"Its largest tensor, {largest.name}, has the shape {units.shape(sizes)}: "
    text += f"{product} = {prod(sizes):,} numbers"
    inner = sizes[len(stack) :]
    return (
        f"{text} ({prod(stack):,} times {units.shape(inner)}, stacked)."
        if stack
        else f"{text}."
    )


def _ranks(facts: Facts) -> str:
    counts: Counter[int] = Counter()
    for kind, named, _ in facts.inventory.kinds:
        if kind.is_parameter:
            counts[len(kind.shape)] += named
    words = [
        f"{number:,} {'is' if number == 1 else 'are'} "
        f"{_RANKS.get(rank, 'blocks with more dimensions') if number > 1 else _one(rank)}"
        for rank, number in sorted(counts.items())
    ]
    *first, last = words or ["none holds parameters"]
    return f"{', '.join(first)} and {last}" if first else last


def _one(rank: int) -> str:
    return {
        0: "a single number",
        1: "a list of numbers (a vector)",
        2: "a table (a matrix)",
    }.get(rank, "a block with more dimensions")


def _in_checkpoints(ledger: Ledger) -> list[str]:
    """Return how many tensors a checkpoint keeps the same numbers in, where that differs."""
    kept = ledger.checkpoint_tensors
    if ledger.file_bytes is not None or not kept or kept == ledger.tensors:
        return []
    there = "each matrix of each expert is a tensor of its own there"
    if kept < ledger.tensors:
        there = "some are joined there, such as those of queries, keys and values"
    with_others = ", with those that are not parameters" if ledger.buffers else ""
    return [
        f"A checkpoint under Hugging Face's names keeps the same numbers in {kept:,} tensors instead of "
        f"{ledger.tensors:,}{with_others}: {there}."
    ]
