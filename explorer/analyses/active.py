"""Active parameters: those that one token's forward pass touches."""

import re

import msgspec

from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import Kind
from explorer.paths import name_of

__all__ = [
    "ActiveParameters",
    "active_parameters",
    "multiplied_once",
    "multiplied_parameters",
]

# their kernels are applied to what stands for a whole input, unless the model labels its tokens
_ONCE = frozenset(("pooler", "relationship", "classifier"))
_WORDS = re.compile("[^a-z]+")
_LABEL_TOKENS = ("ForTokenClassification", "ForQuestionAnswering")


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


def multiplied_parameters(inventory: Inventory) -> int | None:
    """Return the parameters that matrix products multiply each token by: two FLOPs each.

    They are the kernels, of routed experts those that a token uses, and the table of tokens
    where it is the head as well. Gains, biases and rows that are looked up are not among them.
    None where nothing says how the model is used.

    >>> import explorer as ex
    >>> multiplied_parameters(ex.explore("gpt2"))
    123532032
    """
    card = inventory.card
    if card is None or (card.agreement and card.agreement.lacking):
        return None
    kernels, routed = _kernels(inventory), _kernels(inventory, "experts")
    if routed and not card.experts:
        return None
    used = routed * card.experts_per_token // card.experts if routed else 0
    every = kernels - multiplied_once(inventory) - routed + used
    return every + (_largest_table(inventory) if card.tied else 0)


def multiplied_once(inventory: Inventory) -> int:
    """Return the parameters that multiply one vector of an input: those of poolers and classes.

    >>> import explorer as ex
    >>> multiplied_once(ex.explore("bert-base-uncased"))
    589824
    """
    card, columns = inventory.card, inventory.columns
    if card is None or card.class_name.endswith(_LABEL_TOKENS):
        return 0
    return sum(
        columns.kinds[number].size
        for key, number in zip(columns.keys, columns.numbers, strict=True)
        if _is_kernel(columns.kinds[number])
        and not _ONCE.isdisjoint(_WORDS.split(name_of(key)))
    )


def _is_kernel(kind: Kind) -> bool:
    return kind.is_parameter and kind.role == "kernel"


def _kernels(inventory: Inventory, component: str = "") -> int:
    return inventory.total(
        lambda kind: kind.size,
        lambda kind: _is_kernel(kind) and component in ("", kind.component),
    )


def _largest_table(inventory: Inventory) -> int:
    """Return the size of the table of tokens: those of positions and of kinds are smaller."""
    return max(
        (
            kind.size
            for kind, _, _ in inventory.kinds
            if kind.is_parameter and kind.component == kind.role == "embedding"
        ),
        default=0,
    )
