"""An explanation as a document: a headline, topics with their numbers, commands for more."""

from collections.abc import Iterator
from typing import Any

from explorer.document.records import (
    Block,
    Column,
    Document,
    Paragraph,
    Table,
    Terms,
    shown,
)
from explorer.explaining.records import Explanation, Topic

__all__ = ["explanation_document", "fact_records"]

_COLUMNS = (
    Column("figure", least=20),
    Column("amount", "right"),
    Column("note", rank=1, lines=3),
)
_LABELS = {"mixture of experts": "experts (MoE)"}
_WIDTH = len("hyperparameter")


def explanation_document(explanation: Explanation) -> Document:
    """Return all topics in brief below a headline, or a single one with its numbers."""
    topics, target = explanation.topics, explanation.target
    if len(topics) > 1:
        last = Paragraph("One word in full, with its numbers: explorer explain TARGET WORD")
        briefs = (_brief(topic) for topic in topics)
        return Document(target, (Paragraph(explanation.headline), *briefs, last))
    title = " ".join(f"{target}: {topic.question}" for topic in topics)
    return Document(title, tuple(block for topic in topics for block in _whole(topic)))


def _brief(topic: Topic) -> Terms:
    label = _LABELS.get(topic.word, topic.word)
    return Terms(((label, topic.brief), ("", f"-> {topic.command}")), _WIDTH)


def _whole(topic: Topic) -> Iterator[Block]:
    yield Paragraph(topic.brief)
    for text in topic.details:
        yield Paragraph(text)
    if topic.facts:
        rows = [
            (fact.name, fact.shown or shown(fact.value), fact.how) for fact in topic.facts
        ]
        yield Table(_COLUMNS, rows).without_empty_columns()
    yield Paragraph(f"-> {topic.command}")


def fact_records(explanation: Explanation) -> list[dict[str, Any]]:
    """Return one record for each figure of each topic, its value exact; of topics in brief,
    one for each topic."""
    facts = [
        {
            "topic": topic.word,
            "figure": fact.name,
            "value": fact.value,
            "shown": fact.shown or shown(fact.value),
            "note": fact.how,
        }
        for topic in explanation.topics
        for fact in topic.facts
    ]
    return facts or [
        {"topic": topic.word, "text": topic.brief, "command": topic.command}
        for topic in explanation.topics
    ]
