"""The tables that tokens are looked up in: how large they are, what a row stands for."""

import re
from math import prod

from explorer.explaining.facts import Facts, share
from explorer.explaining.records import Fact, Topic
from explorer.roles.spellings import POSITIONS

__all__ = ["embedding"]

_WORDS = re.compile("[^a-z]+")

_POSITIONS = re.compile(
    r"(?:\b|_)(?:pos|wpe\b)", re.IGNORECASE
)  # rows of places, not of tokens


def embedding(facts: Facts) -> Topic:
    """Return the size and share of the tables that tokens are looked up in."""
    ledger = facts.ledger
    table = facts.parameters_of(component="embedding")
    rows = _table_of(facts)
    brief = _OF_TEXT if facts.reads_tokens is not False else _OF_OTHERS
    if facts.reads_tokens is False:
        brief += (
            f"{facts.name} reads no tokens and has no such table: what turns its inputs into vectors, "
            f"and tells their positions, is {table:,} parameters, "
            f"{share(table, ledger.parameters)} of all."
        )
    elif rows is None:
        brief += f"{facts.name} has no table that is recognised as one."
    else:
        count, width = rows
        brief += (
            f"That of {facts.name} has {count:,} rows of {width:,} numbers; its embeddings are "
            f"{table:,} parameters, {share(table, ledger.parameters)} of all."
        )
    head = facts.parameters_of(component="head")
    details = [] if rows is None else [_ON_ROWS, _on_head(head)]
    facts_ = (
        Fact("embeddings", table, f"{table:,}", share(table, ledger.parameters)),
        Fact("head", head, f"{head:,}", share(head, ledger.parameters)),
    )
    return Topic(
        word="embedding", question="What is an embedding, and how large is it?", brief=brief,
        details=tuple(details), facts=facts_, command=facts.command("show", "--by component"),
    )  # fmt: skip


_OF_TEXT = (
    "Text enters a model as numbers of tokens (words and pieces of words). The embedding is a table "
    "with a row of learned numbers, a vector, for each. "
)
_OF_OTHERS = (
    "In a model of text the embedding is a table with a row of learned numbers, a vector, for each "
    "token. "
)
_ON_ROWS = (
    "The row of a token such as Apple begins as random numbers; after training it holds at once the "
    "fruit, the maker of phones and the stock. The layers that follow read from the other tokens "
    "which one is meant."
)


def _on_head(head: int) -> str:
    if head:
        return (
            "At the end of the model a second table, the head, turns a vector into a score for each "
            f"token: {head:,} parameters here."
        )
    return (
        "Where no head is listed, the model uses the same table again at its end (the two are tied "
        "and count once), or has an end of another kind."
    )


def _table_of(facts: Facts) -> tuple[int, int] | None:
    """Return rows and width of the largest table of tokens; None where there is none."""
    if facts.reads_tokens is False:
        return None
    tables = [
        spec.shape
        for spec in facts.inventory
        if spec.kind.is_parameter
        and spec.kind.component == spec.kind.role == "embedding"
        and len(spec.shape) == 2
        and POSITIONS.isdisjoint(_WORDS.split(spec.name.lower()))
    ]
    if not tables:
        return None
    rows, width = max(tables, key=prod)
    return max(rows, width), min(rows, width)
