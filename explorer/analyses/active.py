"""Active parameters: those that one token's forward pass touches."""

import msgspec

from explorer.inventory.inventory import Inventory

__all__ = ["ActiveParameters", "active_parameters"]


class ActiveParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Exact counts by the three conventions in use, and which one the publisher quotes.

    A tied embedding is the head as well: leaving out the input embedding alone means
    nothing then, and is None.
    """

    with_embedding_and_head: int
    without_input_embedding: int | None
    without_embedding_and_head: int
    publisher: str | None


def active_parameters(inventory: Inventory) -> ActiveParameters | None:
    """Return the active parameters of a model whose architecture is known, else None.

    Of the routed experts, k of n count: total - routed + routed * k / n. Router, shared
    experts and norms always do.
    """
    card = inventory.card
    # of a part of a model, or of another one, k of n says nothing
    if card is None or (card.agreement and card.agreement.lacking):
        return None
    routed = inventory.total(
        lambda kind: kind.size,
        lambda kind: kind.is_parameter and kind.component == "experts",
    )
    if routed and not card.experts:
        return None
    idle = routed - routed * card.experts_per_token // card.experts if routed else 0
    whole = inventory.num_parameters - idle
    embedding = inventory.total(
        lambda kind: kind.size,
        lambda kind: kind.is_parameter and kind.component == kind.role == "embedding",
    )
    head = inventory.total(
        lambda kind: kind.size, lambda kind: kind.is_parameter and kind.component == "head"
    )
    return ActiveParameters(
        with_embedding_and_head=whole,
        without_input_embedding=None if card.tied else whole - embedding,
        without_embedding_and_head=whole - embedding - head,
        publisher=card.advertised.convention if card.advertised else None,
    )
