"""Which tensors are one: by storage where the source shows it, by config in folders."""

from collections.abc import Iterable

from explorer.inventory import Kind, TensorSpec, Tie
from explorer.paths import name_of
from explorer.sources.config import Config
from explorer.sources.listing import Listing

__all__ = ["find_ties"]

_Assumptions = tuple[tuple[str, str], ...]

# Classes whose language-model head is the embedding when tied, though no file stores it.
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def find_ties(
    tensors: list[TensorSpec],
    kinds: Iterable[Kind],
    listing: Listing,
    config: Config | None,
) -> tuple[list[Tie], _Assumptions]:
    """Return the groups of tensors that are one, and what had to be assumed.

    A source that shows storages is believed. Else config.json decides for the word
    embedding and the output head. Without either, equal shapes prove nothing: the
    tensors are counted apart and an assumption says so.
    """
    learned = [kind for kind in kinds if kind.is_parameter]
    heads = {id(k) for k in learned if k.component == "head" and k.role == "kernel"}
    tables = {id(k) for k in learned if k.component == k.role == "embedding"}
    head_tensors = [t for t in tensors if id(t.kind) in heads] if heads else []
    table_tensors = [t for t in tensors if id(t.kind) in tables] if tables else []
    ties = list(listing.ties)
    known = {key for tie in ties for key in tie.keys}
    if config is not None:
        if config.tied:
            ties += _tie_words(table_tensors, head_tensors, known, config)
        ties += _tie_head_bias(tensors, known, config)
    tied = known | {key for tie in ties for key in tie.keys}
    if config is not None and config.tied is not None:
        return ties, ()
    return ties, tuple(
        (
            "parameters",
            f"{name_of(head.key)} and {name_of(table.key)} have equal shapes and nothing "
            "says that they are tied: counted apart",
        )
        for head in head_tensors
        for table in table_tensors
        if head.shape == table.shape and head.key not in tied
    )


def _tie_words(
    tables: list[TensorSpec], heads: list[TensorSpec], known: set, config: Config
) -> list[Tie]:
    """Tie the word embedding's tables and the output heads of their shape."""
    if not tables:
        return []
    # position and type tables are embeddings too: the words' is the one with most rows
    words = max(tables, key=lambda table: table.shape[0] if table.shape else 0)
    group = [t for t in (*tables, *heads) if t.shape == words.shape and t.key not in known]
    keys = [t.key for t in group]
    if not heads and config.architecture.endswith(_CAUSAL):
        keys.append("lm_head.weight")
    return [Tie(tuple(keys), config.tied_rule)] if len(keys) > 1 else []


def _tie_head_bias(tensors: list[TensorSpec], known: set, config: Config) -> list[Tie]:
    """Tie the bias that BERT's masked-language head keeps under two names."""
    biases = {t.name: t for t in tensors if t.component == "head" and t.role == "bias"}
    ties = []
    for name, tensor in biases.items():
        if not name.endswith("/decoder/bias") or tensor.key in known:
            continue
        owner = biases.get(name.removesuffix("/decoder/bias") + "/bias")
        if owner is not None and owner.shape == tensor.shape:
            rule = f"{config.model_type} models keep the head's bias under two names"
            ties.append(Tie((owner.key, tensor.key), rule))
    return ties
