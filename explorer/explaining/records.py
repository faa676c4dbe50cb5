"""What is explained: topics of plain text, each with its numbers and a command that shows more."""

from typing import Any

import msgspec

from explorer.document.exporting import Exportable

__all__ = ["Explanation", "Fact", "Topic"]


class Fact(msgspec.Struct, frozen=True):
    """One number or word of a topic.

    Attributes:
        name: what it is.
        value: exact, in bytes where it is a size.
        shown: as people read it; empty for `value` itself.
        how: how it is known, or what it is for.
    """

    name: str
    value: Any
    shown: str = ""
    how: str = ""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One word, explained.

    Attributes:
        word: as it is asked for.
        question: that the topic answers.
        brief: the answer in a few sentences.
        details: further paragraphs; empty in an explanation of all words.
        facts: the numbers that a table shows; as `details`.
        command: what shows more.
    """

    word: str
    question: str
    brief: str
    details: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    command: str = ""


class Explanation(Exportable, frozen=True, kw_only=True):
    """The words of the field on one model: all of them in brief, or one in full.

    >>> import explorer as ex
    >>> found = ex.explain("gpt2", "bias")
    >>> [topic.word for topic in found.topics], found.topics[0].facts[0].value
    (['bias'], 102144)
    """

    target: str
    headline: str
    topics: tuple[Topic, ...]
