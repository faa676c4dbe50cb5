"""The tables that tokens are looked up in: how large they are, what a row stands for."""

from explorer.explaining.facts import Facts, share
from explorer.explaining.records import Fact, Topic

__all__ = ["embedding"]


def embedding(facts: Facts) -> Topic:
    """Return the size and share of the tables that tokens are looked up in."""
    ledger = facts.ledger
    table = facts.parameters_of(component="embedding")
    rows = _table_of(facts)
    brief = (
        "Text enters a model as numbers of tokens (words and pieces of words). The embedding is a "
        "table with a row of learned numbers, a vector, for each. "
    )
    if rows is None:
        brief += f"{facts.name} has no table that is recognised as one."
    else:
        count, width = rows
        brief += (
            f"That of {facts.name} has {count:,} rows of {width:,} numbers; its embeddings are "
            f"{table:,} parameters, {share(table, ledger.parameters)} of all."
        )
    head = facts.parameters_of(component="head")
    details = [
        "The row of a token such as Apple begins as random numbers; after training it holds at once "
        "the fruit, the maker of phones and the stock. The layers that follow read from the other "
        "tokens which one is meant.",
        f"At the end of the model a second table, the head, turns a vector into a score for each "
        f"token: {head:,} parameters here."
        if head
        else "Where no head is listed, the model uses the same table again at its end (the two are "
        "tied and count once), or has an end of another kind.",
    ]
    facts_ = (
        Fact("embeddings", table, f"{table:,}", share(table, ledger.parameters)),
        Fact("head", head, f"{head:,}", share(head, ledger.parameters)),
    )
    return Topic(
        word="embedding", question="What is an embedding, and how large is it?", brief=brief,
        details=tuple(details), facts=facts_, command=facts.command("show", "--by component"),
    )  # fmt: skip


def _table_of(facts: Facts) -> tuple[int, int] | None:
    """Return rows and width of the largest table; None where there is none."""
    kinds = [
        kind
        for kind, _, _ in facts.inventory.kinds
        if kind.is_parameter
        and kind.component == kind.role == "embedding"
        and len(kind.shape) == 2
    ]
    if not kinds:
        return None
    rows, width = max(kinds, key=lambda kind: kind.size).shape
    return max(rows, width), min(rows, width)
