"""A model and a word -> the explanation: every topic in brief, or one in full."""

from collections.abc import Callable

from msgspec.structs import replace

from explorer.architectures.catalog.entries import UndisclosedModel
from explorer.explaining import arrays, choices, counts, efficiency, running, tables
from explorer.explaining.facts import STAND_IN, Facts
from explorer.explaining.learning_run import RECORDED, LearningRun
from explorer.explaining.records import Explanation, Topic
from explorer.explaining.words import TOPICS

__all__ = ["explanation_of", "undisclosed_explanation"]
_WRITERS: dict[str, Callable[[Facts], Topic]] = {
    "tensor": arrays.tensor,
    "parameter": counts.parameter,
    "weight": counts.weight,
    "bias": counts.bias,
    "embedding": tables.embedding,
    "hyperparameter": choices.hyperparameter,
    "learning": choices.learning,
    "quantisation": efficiency.quantisation,
    "pruning": efficiency.pruning,
    "mixture of experts": efficiency.experts,
    "LoRA": efficiency.lora,
    "memory": running.memory,
    "speed": running.speed,
    "cost": running.cost,
}


def explanation_of(
    facts: Facts, topic: str | None, run: LearningRun = RECORDED
) -> Explanation:
    """Return one topic in full, or all of them in brief.

    Args:
        facts: of the model.
        topic: a key of TOPICS; None for all.
        run: whose numbers the topic learning has.
    """
    writers = _WRITERS | {"learning": lambda facts: choices.learning(facts, run)}
    if topic is not None:
        return Explanation(
            target=facts.name,
            headline=counts.headline(facts),
            topics=(writers[topic](facts),),
        )
    brief = replace(facts, whole=False)
    topics = (writers[word](brief) for word in TOPICS)
    return Explanation(
        target=facts.name,
        headline=counts.headline(facts),
        topics=tuple(replace(each, details=(), facts=()) for each in topics),
    )


def undisclosed_explanation(
    model: UndisclosedModel, name: str, known: Explanation | None
) -> Explanation:
    """Return what can be said of a model whose publisher discloses nothing.

    Args:
        model: the catalogue's record.
        name: what it was asked for by.
        known: the word that was asked for, on a model that is known; None for no word.
    """
    estimate = (
        f"A public estimate, which is not a count: {model.estimate}."
        if model.estimate
        else "No estimate of it is repeated here."
    )
    text = (
        f"{model.publisher} discloses neither the architecture nor the parameters of {name}: not its "
        f"tensors, weights, biases or hyperparameters, nor what follows from them. {estimate} No "
        "memory, speed or cost is computed from it."
    )
    topic = known.topics[0] if known else None
    found = Topic(
        word=topic.word if topic else "parameter",
        question=f"What is known of {name}?",
        brief=text,
        details=(f"On {STAND_IN}, which is public: {topic.brief}",) if topic else (),
        facts=tuple(counts.sizes()),
        command=topic.command if topic else f"explorer explain {STAND_IN}",
    )
    headline = f"{model.publisher} does not disclose how many parameters {name} has."
    return Explanation(target=name, headline=headline, topics=(found,))
