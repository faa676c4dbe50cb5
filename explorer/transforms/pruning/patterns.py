"""What is to be pruned, and how much of it: "0.5", "2:4", "rows:0.25"."""

import difflib
from fractions import Fraction
from typing import Any, Literal, NamedTuple, get_args

from explorer.arguments import check_kinds
from explorer.errors import InputError, check_type, shown

__all__ = [
    "Method",
    "Pattern",
    "PatternKind",
    "PruneSettings",
    "Scope",
    "check_choice",
    "parse_pattern",
]

PatternKind = Literal[
    "unstructured", "n:m", "rows", "columns", "heads", "layers", "experts"
]
Method = Literal["magnitude", "wanda", "sparsegpt", "random", "movement"]
Scope = Literal["tensor", "global", "group"]
_PARTS: tuple[PatternKind, ...] = ("rows", "columns", "heads", "layers", "experts")
_FORMS = (
    "a share between 0 and 1, n:m, or a part and a share: 0.5, 2:4, rows:0.25, heads:0.25"
)
_LONGEST_BLOCK = 1024


class Pattern(NamedTuple):
    """Which share of what is pruned.

    Attributes:
        kind: of the entries: any, n of each m inputs kept, or whole rows, columns, heads,
            layers, experts.
        share: how much is pruned.
        block: m of n:m, else 0.
    """

    kind: PatternKind
    share: Fraction
    block: int = 0

    @property
    def text(self) -> str:
        """The pattern as it is asked for."""
        if self.block:
            return f"{self.kept}:{self.block}"
        share = f"{float(self.share):g}"
        return share if self.kind == "unstructured" else f"{self.kind}:{share}"

    @property
    def kept(self) -> int:
        """n of n:m."""
        return int((1 - self.share) * self.block)

    def number(self, of: int) -> int:
        """Return how many of so many are pruned: the share of them, rounded down.

        >>> parse_pattern("0.3").number(11), parse_pattern("0.3").number(10)
        (3, 3)
        """
        return of * self.share.numerator // self.share.denominator


class PruneSettings(NamedTuple):
    """What is pruned, by which score, compared among which entries."""

    pattern: Pattern
    by: Method = "magnitude"
    scope: Scope = "tensor"
    seed: int = 0


def parse_pattern(text: str) -> Pattern:
    """Return what "0.5", "2:4" or "rows:0.25" asks for.

    Args:
        text: a share of the entries; n:m, of which n of each m inputs of an output are kept; or
            "rows", "columns", "heads", "layers" or "experts", and the share that is removed.

    Raises:
        InputError: a text of another form, or a share that is not between 0 and 1.

    >>> parse_pattern("2:4")
    Pattern(kind='n:m', share=Fraction(1, 2), block=4)
    >>> parse_pattern("row:0.25")
    Traceback (most recent call last):
    explorer.errors.InputError: pattern: 'row:0.25'; expected a share between 0 and 1, n:m, or \
a part and a share: 0.5, 2:4, rows:0.25, heads:0.25; did you mean rows:0.25?
    """
    check_type("pattern", text, (str, float), "a str such as 0.5 or 2:4")
    head, colon, tail = str(text).strip().lower().partition(":")
    if head in _PARTS:
        return Pattern(head, _share(tail, str(text)))
    if not colon:
        return Pattern("unstructured", _share(head, str(text)))
    if not (head.isdecimal() and tail.isdecimal()):
        near = difflib.get_close_matches(head, _PARTS, 1, 0.6)
        raise _wrong(str(text), f"did you mean {near[0]}:{tail}?" if near else "")
    kept, block = int(head), int(tail)
    if not 0 < kept < block <= _LONGEST_BLOCK:
        raise _wrong(str(text), "n of m are kept, 0 < n < m")
    return Pattern("n:m", 1 - Fraction(kept, block), block)


def _share(text: str, whole: str) -> Fraction:
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise _wrong(whole) from None
    if not 0 < share < 1:
        raise _wrong(whole)
    return share


def _wrong(text: str, cure: str = "") -> InputError:
    found = shown(text, 40)
    return InputError("pattern", found=found, expected=_FORMS, cure=cure)


def check_choice(place: str, given: object, kind: object) -> None:
    """Refuse a word that is not one of a Literal's; the error suggests the nearest.

    >>> check_choice("by", "magnitud", Method)
    Traceback (most recent call last):
    explorer.errors.InputError: by: 'magnitud'; expected magnitude, wanda, sparsegpt, random or \
movement; did you mean magnitude?
    """
    words = get_args(kind)
    if isinstance(given, str) and given in words:
        return
    near = difflib.get_close_matches(shown(given), words, 1, 0.5)
    raise InputError(
        place,
        found=shown(given, 40),
        expected=f"{', '.join(words[:-1])} or {words[-1]}",
        cure=f"did you mean {near[0]}?" if near else "",
    )


def settings_of(pattern: str, by: Any, scope: Any, seed: int = 0) -> PruneSettings:
    """Return what is asked for.

    Raises:
        InputError: an unknown word, or words that do not go together.
    """
    check_kinds(("pattern", pattern, "a str"), ("seed", seed, "a whole number"))
    if seed < 0:
        raise InputError("seed", found=str(seed), expected="0 or more")
    found = parse_pattern(pattern)
    check_choice("by", by, Method)
    if scope is not None:
        check_choice("scope", scope, Scope)
    else:
        scope = "group" if by == "wanda" else "tensor"
    if by == "sparsegpt" and found.kind not in ("unstructured", "n:m"):
        raise InputError(
            "by",
            found=f"'sparsegpt' with {found.text}",
            expected="a share of the entries, or n:m",
            cure="prune by wanda or magnitude",
        )
    if scope == "global" and (found.kind != "unstructured" or by == "sparsegpt"):
        what = f"by {by}" if by == "sparsegpt" else f"with {found.text}"
        raise InputError(
            "scope",
            found=f"'global' {what}, which is decided in each matrix",
            expected="a share of all entries, such as 0.5, or no scope",
        )
    return PruneSettings(found, by, scope, seed)
