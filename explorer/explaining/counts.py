"""Parameters, weights and biases of a model."""

from math import prod

from explorer.analyses.ledger import Ledger
from explorer.architectures.catalog.entries import UndisclosedModel, find
from explorer.document.words import counted
from explorer.explaining.facts import Facts, in_words, share
from explorer.explaining.records import Fact, Topic
from explorer.views import units

__all__ = ["bias", "headline", "parameter", "sizes", "weight"]

_SIZES = (
    "gpt2-xl", "llama-2-7b", "llama-2-70b", "grok-1", "deepseek-v3", "gpt-4", "claude",
)  # fmt: skip
_COUNTED = ("gpt2-xl", "llama-2-70b", "deepseek-v3")
WITH_BIASES = "gpt2"  # what shows biases where a model has none


def headline(facts: Facts) -> str:
    """Return the one sentence to remember: books, shelves, weights, biases, bytes."""
    ledger = facts.ledger
    if ledger.biases:
        weights = counted(ledger.weights, "is a weight", "are weights")
        kinds = f"{weights}, {counted(ledger.biases, 'is a bias', 'are biases')}."
    else:
        kinds = "All are weights; none is a bias."
    at = ledger.bytes_at
    name = facts.name.replace("this model", "This model")  # that of an object in memory
    return (
        f"{name} has {counted(ledger.parameters, 'parameter')} (books) kept in "
        f"{counted(ledger.parameter_tensors, 'tensor')} ({'a shelf' if ledger.parameter_tensors == 1 else 'shelves'}). {kinds} At 16 bits they take "
        f"{units.size(at['16'])}, at 4 bits {units.size(at['4'])}."
    )


def _advertised(ledger: Ledger) -> str:
    return ledger.advertised.parameters if ledger.advertised else ""


def parameter(facts: Facts) -> Topic:
    """Return how many numbers a model has learned, beside other models."""
    ledger = facts.ledger
    total, claim = ledger.parameters, _advertised(ledger)
    brief = (
        f"A parameter is one number that a model learns in training. {facts.name} has {total:,}"
        f"{_about(total)}: {counted(ledger.weights, 'weight')}, which "
        f"{'multiplies' if ledger.weights == 1 else 'multiply'}, and "
        f"{counted(ledger.biases, 'bias', 'biases')}, which {'is' if ledger.biases == 1 else 'are'}"
        " added."
    )
    if claim:
        letter = {"B": " (B: billion)", "M": " (M: million)", "T": " (T: trillion)"}
        verb = "rounds this to" if _rounds_to(total, claim) else "calls it"
        brief += f' Its publisher {verb} "{claim}"{letter.get(claim[-1:], "")}.'
    table = [Fact(facts.name, total, f"{total:,}", ledger.provenance["parameters"])]
    others = [fact for fact in sizes() if fact.name != facts.name]
    table += others if facts.whole else []
    return Topic(
        word="parameter", question="What is a parameter, and how many are there?", brief=brief,
        details=_ON_PARAMETERS, facts=tuple(table),
        command=facts.command("count", " ".join(n for n in _COUNTED if n != facts.spelled)),
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


def _rounds_to(total: int, claim: str) -> bool:
    """Return whether a count is what a publisher says, in as many digits.

    >>> _rounds_to(671_026_404_352, "671B"), _rounds_to(316_489_340_928, "314B")
    (True, False)
    """
    scale = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}.get(claim[-1:], 1)
    digits = claim.rstrip("KMBT").replace(",", "")
    try:
        places = len(digits.partition(".")[2])
        return abs(total / scale - float(digits)) <= 0.51 * 10.0**-places
    except ValueError:
        return False


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
            f"({share(ledger.weights, ledger.parameters)}) "
            f"{'is a weight' if ledger.weights == 1 else 'are weights'}."
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
