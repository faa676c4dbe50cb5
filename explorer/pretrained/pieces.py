"""Text <-> token ids, by the vocabulary that a GGUF file of SentencePiece's kind carries.

The pair of neighbouring pieces whose union has the highest score is joined, the leftmost of equal
ones, until no union is in the vocabulary; what is left outside it becomes the tokens of its bytes.

References:
    Kudo & Richardson, SentencePiece (2018), its BPE.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from explorer.pretrained.whole_tokens import WholeTokens

__all__ = ["PieceVocabulary", "encode_pieces", "piece_bytes", "vocabulary_of"]

_SPACE = "\u2581"
_BYTE = 6  # of the kinds of tokens


class PieceVocabulary(NamedTuple):
    """Pieces, their ids and scores, and what is put before a text.

    Attributes:
        ids: of each piece.
        scores: of each id.
        begin: the id that starts a text; None for none.
        unknown: the id of what has no piece and no bytes.
        add_space: whether a text starts with a space.
        whole: tokens that are found in a text before anything is joined.
    """

    ids: Mapping[str, int]
    scores: Sequence[float]
    begin: int | None = None
    unknown: int = 0
    add_space: bool = False
    whole: WholeTokens = WholeTokens({})


def vocabulary_of(metadata: Mapping[str, object]) -> PieceVocabulary | None:
    """Return the vocabulary in the metadata of a GGUF file; None for one of another kind.

    Args:
        metadata: the key-value pairs, arrays as lists.

    Raises:
        ValueError: its parts do not fit together.
    """
    tokens = metadata.get("tokenizer.ggml.tokens")
    scores = metadata.get("tokenizer.ggml.scores")
    if metadata.get("tokenizer.ggml.model") != "llama" or not isinstance(tokens, list):
        return None
    if not isinstance(scores, list):
        return None
    begin = metadata.get("tokenizer.ggml.bos_token_id")
    unknown = metadata.get("tokenizer.ggml.unknown_token_id")
    if len(scores) != len(tokens) or not all(isinstance(each, str) for each in tokens):
        raise ValueError(
            f"{len(scores):,} scores for {len(tokens):,} tokens that are texts"
        )
    if not all(isinstance(score, int | float) for score in scores):
        raise ValueError("scores that are not numbers")
    for number in (begin, unknown):
        if isinstance(number, int) and not 0 <= number < len(tokens):
            raise ValueError(f"{len(tokens):,} tokens, and none of number {number:,}")
    ids = {piece: number for number, piece in reversed([*enumerate(tokens)])}
    return PieceVocabulary(
        ids,
        scores,
        begin
        if isinstance(begin, int) and metadata.get("tokenizer.ggml.add_bos_token", True)
        else None,
        unknown if isinstance(unknown, int) else 0,
        bool(metadata.get("tokenizer.ggml.add_space_prefix", True)),
        WholeTokens.of_types(tokens, metadata.get("tokenizer.ggml.token_type")),
    )


def encode_pieces(text: str, vocabulary: PieceVocabulary) -> list[int]:
    """Return the token ids of a text.

    >>> ids = {"a": 0, "b": 1, "ab": 2, "▁": 3, "▁ab": 4, "<0x63>": 5}
    >>> encode_pieces("ab ab c", PieceVocabulary(ids, [0, 0, -1, 0, -2, 0]))
    [2, 4, 3, 5]
    """
    found = [] if vocabulary.begin is None else [vocabulary.begin]
    for part in vocabulary.whole.split(" " + text if vocabulary.add_space else text):
        if isinstance(part, int):
            found.append(part)
        else:
            for piece in _joined(part, vocabulary):
                found += _ids(piece, vocabulary)
    return found


def piece_bytes(token: str, kind: int) -> bytes:
    """Return the text of a token, in UTF-8; that of one byte may be part of a character.

    Args:
        token: as the vocabulary spells it.
        kind: of GGUF's token types.

    >>> piece_bytes("▁cat", 1), piece_bytes("<0xC3>", 6)
    (b' cat', b'\\xc3')
    """
    if kind == _BYTE:
        return bytes([int(token[3:-1], 16)])
    return token.replace(_SPACE, " ").encode()


def _joined(text: str, vocabulary: PieceVocabulary) -> list[str]:
    """Return the pieces of a text without tokens that are found whole."""
    pieces: list[str] = list(text.replace(" ", _SPACE))
    before = list(range(-1, len(pieces) - 1))
    after = list(range(1, len(pieces) + 1))
    queue: list[tuple[float, int, int, str]] = []

    def propose(left: int) -> None:
        right = after[left] if left >= 0 else len(pieces)
        if left < 0 or right >= len(pieces):
            return
        union = pieces[left] + pieces[right]
        number = vocabulary.ids.get(union)
        if number is not None:
            heapq.heappush(queue, (-vocabulary.scores[number], left, right, union))

    for index in range(len(pieces) - 1):
        propose(index)
    while queue:
        _, left, right, union = heapq.heappop(queue)
        # a pair of which one was joined to another piece since
        if not pieces[left] or not pieces[right] or pieces[left] + pieces[right] != union:
            continue
        pieces[left], pieces[right] = union, ""
        after[left] = after[right]
        if after[right] < len(pieces):
            before[after[right]] = left
        propose(before[left])
        propose(left)
    return [piece for piece in pieces if piece]


def _ids(piece: str, vocabulary: PieceVocabulary) -> list[int]:
    number = vocabulary.ids.get(piece)
    if number is not None:
        return [number]
    by_bytes = [vocabulary.ids.get(f"<0x{byte:02X}>") for byte in piece.encode()]
    known = [each for each in by_bytes if each is not None]
    return known if len(known) == len(by_bytes) else [vocabulary.unknown]
