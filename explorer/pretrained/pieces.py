"""Text -> token ids, by the vocabulary that a GGUF file of SentencePiece's kind carries.

The pair of neighbouring pieces whose union has the highest score is joined, the leftmost of equal
ones, until no union is in the vocabulary; what is left outside it becomes the tokens of its bytes.

References:
    Kudo & Richardson, SentencePiece (2018), its BPE.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["PieceVocabulary", "encode_pieces", "vocabulary_of"]

_SPACE = "\u2581"


class PieceVocabulary(NamedTuple):
    """Pieces, their ids and scores, and what is put before a text.

    Attributes:
        ids: of each piece.
        scores: of each id.
        begin: the id that starts a text; None for none.
        unknown: the id of what has no piece and no bytes.
        add_space: whether a text starts with a space.
    """

    ids: Mapping[str, int]
    scores: Sequence[float]
    begin: int | None = None
    unknown: int = 0
    add_space: bool = False


def vocabulary_of(metadata: Mapping[str, object]) -> PieceVocabulary | None:
    """Return the vocabulary in the metadata of a GGUF file; None for one of another kind.

    Args:
        metadata: the key-value pairs, arrays as lists.
    """
    tokens = metadata.get("tokenizer.ggml.tokens")
    scores = metadata.get("tokenizer.ggml.scores")
    if metadata.get("tokenizer.ggml.model") != "llama" or not isinstance(tokens, list):
        return None
    if not isinstance(scores, list):
        return None
    begin = metadata.get("tokenizer.ggml.bos_token_id")
    unknown = metadata.get("tokenizer.ggml.unknown_token_id")
    ids = {piece: number for number, piece in reversed([*enumerate(tokens)])}
    return PieceVocabulary(
        ids,
        scores,
        begin
        if isinstance(begin, int) and metadata.get("tokenizer.ggml.add_bos_token", True)
        else None,
        unknown if isinstance(unknown, int) else 0,
        bool(metadata.get("tokenizer.ggml.add_space_prefix", True)),
    )


def encode_pieces(text: str, vocabulary: PieceVocabulary) -> list[int]:
    """Return the token ids of a text.

    >>> ids = {"a": 0, "b": 1, "ab": 2, "▁": 3, "▁ab": 4, "<0x63>": 5}
    >>> encode_pieces("ab ab c", PieceVocabulary(ids, [0, 0, -1, 0, -2, 0]))
    [2, 4, 3, 5]
    """
    if vocabulary.add_space and text:
        text = " " + text
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
    found = [] if vocabulary.begin is None else [vocabulary.begin]
    for piece in filter(None, pieces):
        found += _ids(piece, vocabulary)
    return found


def _ids(piece: str, vocabulary: PieceVocabulary) -> list[int]:
    number = vocabulary.ids.get(piece)
    if number is not None:
        return [number]
    by_bytes = [vocabulary.ids.get(f"<0x{byte:02X}>") for byte in piece.encode()]
    known = [each for each in by_bytes if each is not None]
    return known if len(known) == len(by_bytes) else [vocabulary.unknown]
