"""Tokens that are found in a text as they are, before it is split into pieces."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

__all__ = ["CONTROL", "WholeTokens"]

CONTROL, _USER_DEFINED = 3, 4  # of GGUF's kinds of tokens


class WholeTokens:
    """Tokens that are found whole: those that steer a model, and those that its users defined.

    Args:
        ids: of each token.

    >>> [*WholeTokens({"<end>": 7, "<e": 8}).split("a<end>b")]
    ['a', 7, 'b']
    """

    def __init__(self, ids: Mapping[str, int]):
        self._ids = {token: number for token, number in ids.items() if token}

    @classmethod
    def of_types(cls, tokens: Sequence[str], types: object) -> "WholeTokens":
        """Return those of a GGUF file.

        Args:
            tokens: by their numbers.
            types: of each token; anything else for none.
        """
        kinds = types if isinstance(types, list) else []
        return cls(
            {
                token: number
                for number, (token, kind) in enumerate(zip(tokens, kinds))
                if kind in (CONTROL, _USER_DEFINED)
            }
        )

    def split(self, text: str) -> Iterator[str | int]:
        """Yield the parts of a text in order: ids of tokens, and text between them.

        Where several tokens begin, the longest is taken.
        """
        if self._ids and text:
            start = 0
            for match in self._pattern.finditer(text):
                if match.start() > start:
                    yield text[start : match.start()]
                yield self._ids[match[0]]
                start = match.end()
            text = text[start:]
        if text:
            yield text

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._ids, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))
