"""The supported model_type that a mistyped one means, if it is only mistyped."""

from collections.abc import Iterable

from explorer.identify.config import MODEL_TYPES

__all__ = ["meant_type"]

_SHORTEST = 5  # of shorter names, one letter makes another model
_LONGEST = 40


def meant_type(typed: str, supported: Iterable[str]) -> str | None:
    """Return the supported model_type that a typing slip made of `typed`; None otherwise.

    A slip is another separator or case, two letters swapped, a letter too often or too
    seldom, or one wrong, left out or added within the word. Another number, and a letter
    before or after a name, make the name of another model, and so do all names of transformers.

    >>> supported = ("deepseek_v3", "llama", "mixtral")
    >>> [meant_type(typed, supported) for typed in ("DeepSeek-V3", "mixtrall", "lalma")]
    ['deepseek_v3', 'mixtral', 'llama']
    >>> [meant_type(typed, supported) for typed in ("mllama", "llama4", "deepseek_v32")]
    [None, None, None]
    """
    word = _letters(typed[:_LONGEST])
    by_letters = {_letters(each): each for each in supported}
    if word in by_letters:
        return by_letters[word]
    if typed.lower() in MODEL_TYPES:
        return None
    meant = [each for letters, each in by_letters.items() if _is_slip(word, letters)]
    return meant[0] if len(meant) == 1 else None


def _letters(name: str) -> str:
    return "".join(each for each in name.lower() if each not in "-_. ")


def _digits(word: str) -> str:
    return "".join(filter(str.isdigit, word))


def _is_slip(typed: str, right: str) -> bool:
    if len(right) < _SHORTEST or _digits(typed) != _digits(right):
        return False
    longer, shorter = sorted((typed, right), key=len, reverse=True)
    start = next(
        (i for i, (a, b) in enumerate(zip(longer, shorter)) if a != b), len(shorter)
    )
    rest, other = longer[start:], shorter[start:]
    if len(longer) == len(shorter):
        swapped = rest[:2] == other[1::-1] and rest[2:] == other[2:]
        return swapped or (rest[1:] == other[1:] and 0 < start < len(right) - 1)
    if len(longer) != len(shorter) + 1 or rest[1:] != other:
        return False
    doubled = start > 0 and rest[0] == longer[start - 1]
    return doubled or 0 < start < len(shorter)
