"""Names that differ in digits alone, as one: `layer/0/bias` to `layer/5/bias` in one row."""

import re
from collections.abc import Sequence

from explorer.paths import runs_of

__all__ = ["pattern_of", "range_name"]

_DIGITS = re.compile(r"\d+")


def pattern_of(name: str) -> str:
    """Return a name with its numbers left open.

    >>> pattern_of("encoder/layer/11/bias")
    'encoder/layer/#/bias'
    """
    return _DIGITS.sub("#", name)


def range_name(names: Sequence[str]) -> str:
    """Return one name for names of one pattern, with the ranges of the numbers that differ.

    >>> range_name(["layer/0/w1", "layer/1/w1", "layer/3/w1"])
    'layer/[0-1,3]/w1'
    """
    numbers = zip(*(map(int, _DIGITS.findall(name)) for name in names), strict=True)
    spelt = iter(
        [
            _DIGITS.findall(names[0])[i] if len(set(n)) == 1 else f"[{runs_of(n)}]"
            for i, n in enumerate(numbers)
        ]
    )
    return _DIGITS.sub(lambda _: next(spelt), names[0])
