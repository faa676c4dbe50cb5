"""Tensors, parameters, weights and biases of a model."""

from collections import Counter
from math import prod

from explorer.analyses.ledger import Ledger
from explorer.architectures.catalog.entries import UndisclosedModel, find
from explorer.document.words import counted
from explorer.explaining.facts import Facts, in_words, share
from explorer.explaining.records import Fact, Topic
from explorer.inventory.tensor import TensorSpec
from explorer.views import units

__all__ = ["bias", "headline", "parameter", "sizes", "tensor", "weight"]

_SIZES = (
    "gpt2-xl", "llama-2-7b", "llama-2-70b", "grok-1", "deepseek-v3", "gpt-4", "claude",
)  # fmt: skip
_RANKS = {
    0: "a single number", 1: "lists of numbers (vectors)", 2: "tables of numbers (matrices)",
    3: "blocks with three dimensions", 4: "blocks with four dimensions",
}  # fmt: skip
WITH_BIASES = "gpt2"  # what shows biases where a model has none


def headline(facts: Facts) -> str:
    """Return the one sentence to remember: books, shelves, weights, biases, bytes."""
    ledger = facts.ledger
    if ledger.biases:
        kinds = f"{ledger.weights:,} are weights, {counted(ledger.biases, 'is a bias', 'are biases')}."
    else:
        kinds = "All are weights; none is a bias."
    at = ledger.bytes_at
    name = facts.name.replace("this model", "This model")  # that of an object in memory
    return (
        f"{name} has {counted(ledger.parameters, 'parameter')} (books) kept in "
        f"{counted(ledger.parameter_tensors, 'tensor')} ({'a shelf' if ledger.parameter_tensors == 1 else 'shelves'}). {kinds} At 16 bits they take "
        f"{units.size(at['16'])}, at 4 bits {units.size(at['4'])}."
    )


def tensor(facts: Facts) -> Topic:
    """Return how many arrays the parameters are kept in, and what one holds."""
    ledger = facts.ledger
    claim = _advertised(ledger)
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
    if other:
        what = "tensor holds" if other == 1 else "tensors hold"
        details.append(
            f"{other:,} further {what} numbers that training does not change (positions, scales, "
            "running averages and the like): stored, but not parameters."
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


def _advertised(ledger: Ledger) -> str:
    return ledger.advertised.parameters if ledger.advertised else ""


def parameter(facts: Facts) -> Topic:
    """Return how many numbers a model has learned, beside other models."""
    ledger = facts.ledger
    total, claim = ledger.parameters, _advertised(ledger)
    brief = (
        f"A parameter is one number that a model learns in training. {facts.name} has {total:,}"
        f"{_about(total)}: {ledger.weights:,} weights, which multiply, and "
        f"{counted(ledger.biases, 'bias', 'biases')}, which {'is' if ledger.biases == 1 else 'are'}"
        " added."
    )
    if claim:
        letter = {"B": " (B: billion)", "M": " (M: million)", "T": " (T: trillion)"}
        brief += f' Its publisher rounds this to "{claim}"{letter.get(claim[-1:], "")}.'
    table = [Fact(facts.name, total, f"{total:,}", ledger.provenance["parameters"])]
    table += sizes() if facts.whole else []
    return Topic(
        word="parameter", question="What is a parameter, and how many are there?", brief=brief,
        details=_ON_PARAMETERS, facts=tuple(table),
        command=facts.command("count", "gpt2-xl llama-2-70b deepseek-v3"),
    )  # fmt: skip


_ON_PARAMETERS = (
    "Parameters are often compared with dials and levers, or with brain cells. More exactly, they "
    "belong to the connections between a model's artificial neurons (weights) and to the neurons "
    "themselves (biases). One of them does nothing but take part in a multiplication or an addition; "
    "all together hold what the model knows of language and of the world.",
    "Nobody types them in: they begin as small random numbers and training adjusts them. What people "
    "choose before training, such as the number of layers, is a hyperparameter.",
    "More parameters are a larger toolbox: a model can hold more and finer patterns and handle more "
    "complex tasks, and needs more memory, time and energy. Larger is not always better: the "
    "architecture, the amount of data and its quality matter as much, and a smaller model that was "
    "trained well can outperform a larger one that was not. For one narrow task a small model may be "
    "all that is needed.",
    "Not all of them matter equally. Four techniques make them fewer, smaller or partly idle: "
    "pruning, quantisation, mixtures of experts and LoRA each have a topic of their own.",
)


def _about(total: int) -> str:
    return f" (about {in_words(total)})" if total >= 10**6 else ""


def sizes() -> list[Fact]:
    """Return known models with their parameters; what is not disclosed is called so."""
    found = []
    for name in _SIZES:
        entry = find(name)
        if isinstance(entry, UndisclosedModel):
            note = f"estimate, not a count: {entry.estimate}" if entry.estimate else ""
            found.append(Fact(name, None, "not disclosed", note))
        elif entry is not None:
            how = f"{units.size(2 * entry.parameters)} at 16 bits"
            found.append(Fact(name, entry.parameters, f"{entry.parameters:,}", how))
    return found


def weight(facts: Facts) -> Topic:
    """Return which parameters multiply."""
    ledger = facts.ledger
    brief = (
        "A weight is a parameter that multiplies what flows through the model: it sets how strongly "
        "one neuron's output counts for the next, the strength of a connection. "
    )
    if ledger.biases:
        brief += (
            f"{ledger.weights:,} of the {counted(ledger.parameters, 'parameter')} of {facts.name} "
            f"({share(ledger.weights, ledger.parameters)}) are weights."
        )
    else:
        brief += (
            f"All {counted(ledger.parameters, 'parameter')} of {facts.name} are weights."
        )
    details = [
        "In the line y = a x + b the weight is a. A layer of a network is many such lines at once: "
        "each output is a sum of all inputs, each times a weight of its own, plus a bias if the layer "
        "has one. A non-linear activation function then follows, or else all layers together would be "
        "no more than one.",
        "People say weights for parameters (open weights, model weights), which rarely matters. "
        "Strictly, every weight is a parameter, and a bias is a parameter that is not a weight.",
    ]
    details += _connections(facts)
    shown = {
        "kernel": "connections of layers",
        "embedding": "rows of tables",
        "scale": "gains",
    }
    roles = {role: n for role, n in ledger.roles.items() if role != "bias"}
    table = tuple(
        Fact(role, number, f"{number:,}", shown.get(role, ""))
        for role, number in roles.items()
    )
    return Topic(
        word="weight", question="What is a weight, and is it a parameter?", brief=brief,
        details=tuple(details), facts=table, command=facts.command("show", "--by role"),
    )  # fmt: skip


def _connections(facts: Facts) -> list[str]:
    kinds = [
        k for k, _, _ in facts.inventory.kinds if k.is_parameter and k.role == "kernel"
    ]
    pairs = [k for k in kinds if len(k.shape) - len(k.stack) == 2]
    if not pairs:
        return []
    largest = max(pairs, key=lambda kind: kind.size // prod(kind.stack))
    one, other = largest.shape[-2:]
    return [
        f"A matrix {units.shape((one, other))} of {facts.name} connects {one:,} numbers with "
        f"{other:,}: {one:,} x {other:,} = {one * other:,} connections, each with a weight."
    ]


def bias(facts: Facts) -> Topic:
    """Return which parameters are added; of another model where there are none."""
    ledger, name = facts.ledger, facts.name
    brief = (
        "A bias is a parameter that is added: in the line y = a x + b, a is a weight and b is the "
        "bias, so that the line need not pass through zero. "
    )
    known, command = ledger, facts.command("show", "--by role")
    if ledger.biases:
        verb = "is a bias" if ledger.biases == 1 else "are biases"
        brief += (
            f"{ledger.biases:,} of the {ledger.parameters:,} parameters of {name} "
            f"({share(ledger.biases, ledger.parameters)}) {verb}."
        )
    else:
        known = facts.example(WITH_BIASES).ledger
        command = f"explorer show {WITH_BIASES} --by role"
        brief += (
            f"None of the {ledger.parameters:,} parameters of {name} is a bias: its layers only "
            f"multiply, as those of many newer models. {WITH_BIASES} has {known.biases:,}."
        )
    table = (
        Fact(f"biases of {name}", ledger.biases, how=ledger.provenance["biases"]),
        *([Fact(f"biases of {WITH_BIASES}", known.biases)] if known is not ledger else []),
    )
    return Topic(
        word="bias", question="What is a bias?", brief=brief, details=_ON_BIASES, facts=table,
        command=command,
    )  # fmt: skip


_ON_BIASES = (
    "A bias shifts a neuron: it decides how large the weighted sum of the inputs must be before the "
    "activation function responds. It is learned like every parameter; training often begins with "
    "biases of zero.",
    "A layer with many inputs has many more weights than biases: a bias for each output, a weight for "
    "each pair of an input and an output. That is why biases are a small share, and why designers "
    "leave them out with little loss.",
    "The bias of a layer has nothing to do with prejudice in a model's answers, which the same word "
    "also names.",
)
