"""Which tensors are one: by storage where the source shows it, by config in folders."""

from collections.abc import Callable
from typing import NamedTuple

from explorer.identify.config import Config
from explorer.inventory.columns import Columns
from explorer.inventory.listing import Listing
from explorer.inventory.tensor import Kind, TensorSpec, Tie
from explorer.paths import Key, name_of, path_of

__all__ = ["Ties", "find_ties"]

# Classes whose language-model head is the embedding when tied, though no file stores it.
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_HEADS = {"whisper": "proj_out.weight"}  # what that head is called, if not lm_head
# Tables of something else than words: positions and types are as long as they like.
_NO_WORDS = ("pos", "wpe", "type", "segment", "rel")


class Ties(NamedTuple):
    """Groups of tensors that are one, and what was settled without a tensor showing it.

    Attributes:
        groups: tensors that share one storage.
        rules: what decided that equal tensors are not one.
        assumptions: the figure that one touches, and a sentence.
    """

    groups: list[Tie]
    rules: tuple[str, ...] = ()
    assumptions: tuple[tuple[str, str], ...] = ()


class _Pair(NamedTuple):
    """Tensors of one shape that may be one, and what says so; tied is None if nothing."""

    keys: list[Key]
    tied: bool | None
    rule: str
    figure: str = "parameters"


def find_ties(
    columns: Columns,
    listing: Listing,
    config: Config | None,
) -> Ties:
    """Return the groups of tensors that are one, and what had to be assumed.

    A source that shows storages is believed. Else config.json decides for the word
    embedding and the output head. Without either, equal shapes prove nothing: the
    tensors are counted separately and an assumption says so.
    """
    tables = _parameters(columns, lambda kind: kind.component == kind.role == "embedding")
    heads = _parameters(columns, lambda kind: kind.component == "head")
    known = {key for tie in listing.ties for key in tie.keys}
    # the members of a list (codebooks, languages) have their shape in common, no more
    words = [t for t in tables if _is_words(t) and t.key not in known]
    kernels = [t for t in heads if t.role == "kernel" and not _in_list(t)]
    biases = [t for t in heads if t.role == "bias"]
    pairs = [
        *_shared_tables(words, config),
        *_tables_and_heads(words, [t for t in kernels if t.key not in known], config),
        *_head_biases([t for t in biases if t.key not in known], config),
    ]
    shown = _parameters_first(listing.ties, columns)
    groups = [*shown, *_joined([pair for pair in pairs if pair.tied])]
    return Ties(
        groups=groups,
        rules=tuple({pair.rule: None for pair in pairs if pair.tied is False}),
        assumptions=tuple(
            (pair.figure, _assumed(pair.keys)) for pair in pairs if pair.tied is None
        ),
    )


def _parameters_first(ties: list[Tie], columns: Columns) -> list[Tie]:
    """Return ties whose counted tensor is a parameter where any of theirs is.

    A target network or an average may begin as the very arrays of its parameters.
    """
    if not ties:
        return []
    tied = {key for tie in ties for key in tie.keys}
    parameters = {
        key
        for index, key in enumerate(columns.keys)
        if key in tied and columns.kind(index).is_parameter
    }
    return [
        Tie(
            tuple(sorted(tie.keys, key=lambda key: key not in parameters)),
            tie.by,
            tie.shown,
        )
        for tie in ties
    ]


def _parameters(columns: Columns, wanted: Callable[[Kind], bool]) -> list[TensorSpec]:
    """Return the parameters whose kind is wanted."""
    numbers = {n for n, k in enumerate(columns.kinds) if k.is_parameter and wanted(k)}
    if not numbers:
        return []
    return [columns.spec(i) for i, n in enumerate(columns.numbers) if n in numbers]


def _is_words(table: TensorSpec) -> bool:
    names = [name.lower() for name in table.path[-2:]]
    return len(table.shape) == 2 and not (
        _in_list(table) or any(word in name for name in names for word in _NO_WORDS)
    )


def _in_list(tensor: TensorSpec) -> bool:
    return any(name.isdigit() for name in tensor.path[-2:])


def _assumed(keys: list[Key]) -> str:
    first, *others = map(name_of, keys)
    return (
        f"{' and '.join(others)} {'has' if len(others) == 1 else 'have'} the shape of "
        f"{first} and nothing says whether they are tied: counted separately"
    )


def _shared_tables(words: list[TensorSpec], config: Config | None) -> list[_Pair]:
    """Pair the table that an encoder and a decoder share with its names in both."""
    pairs = []
    for table in words:
        if table.path[-2:-1] == ("shared",):
            keys = [
                t.key
                for t in words
                if t.shape == table.shape and t.path[-2:-1] == ("embed_tokens",)
            ]
            kind = config.model_type if config else ""
            rule = f"{kind} models share one table between encoder and decoder"
            if keys:
                pairs.append(_Pair([table.key, *keys], bool(kind) or None, rule))
    return pairs


def _tables_and_heads(
    words: list[TensorSpec], heads: list[TensorSpec], config: Config | None
) -> list[_Pair]:
    """Pair the word embedding with the output heads of its shape."""
    tied, rule = (config.tied, config.tied_rule) if config else (None, "")
    pairs = []
    for shape in {head.shape: None for head in heads}:
        same_shape = [table for table in words if table.shape == shape]
        if same_shape:
            keys = [head.key for head in heads if head.shape == shape]
            pairs.append(_Pair([min(same_shape, key=_likeliest).key, *keys], tied, rule))
    if tied and config and words and not heads and config.architecture.endswith(_CAUSAL):
        table = max(words, key=lambda table: table.shape[0])
        pairs.append(_Pair([table.key, _head_of(table, config)], tied, rule))
    return pairs


def _likeliest(table: TensorSpec) -> int:
    """Rank the tables a head may be tied to: the shared one, a decoder's, any other."""
    return 0 if "shared" in table.path else 1 if "decoder" in table.path else 2


def _head_of(table: TensorSpec, config: Config) -> Key:
    """Return the key that the head of a tied model would have."""
    head = _HEADS.get(config.model_type, "lm_head.weight")
    inside = path_of(table.key)[:2] == ("language_model", "model")
    return f"language_model.{head}" if inside else head


def _head_biases(biases: list[TensorSpec], config: Config | None) -> list[_Pair]:
    """Pair the two names of the bias that BERT's masked-language head keeps."""
    by_name = {t.name: t for t in biases}
    kind = config.model_type if config else ""
    rule = f"{kind} models keep the head's bias under two names"
    return [
        _Pair([owner.key, tensor.key], bool(kind) or None, rule, "biases")
        for name, tensor in by_name.items()
        if name.endswith("/decoder/bias")
        and (owner := by_name.get(name.removesuffix("/decoder/bias") + "/bias"))
        and owner.shape == tensor.shape
    ]


def _joined(pairs: list[_Pair]) -> list[Tie]:
    """Return one group for all that share a tensor; each says what its names rest on."""
    ties: list[Tie] = []
    for pair in pairs:
        for i, tie in enumerate(ties):
            if pair.keys[0] in tie.keys:
                by = tie.by if pair.rule == tie.by else f"{tie.by}; {pair.rule}"
                ties[i] = Tie((*tie.keys, *pair.keys[1:]), by)
                break
        else:
            ties.append(Tie(tuple(pair.keys), pair.rule))
    return ties
