"""Regular expressions of a tokenizer.json: those whose search could take very long are refused.

The library tokenizers searches by backtracking: what is repeated within what is repeated takes
exponential time. The patterns of published tokenizers repeat single characters.
"""

from collections.abc import Iterator
from typing import NamedTuple

from explorer.errors import FormatError, printable

__all__ = ["check_tokenizer_patterns"]

_LONGEST = 10_000  # characters of a pattern
_MOST = 3  # repeated characters in one alternative that can share a text out among them
_DEEPEST = 60


def check_tokenizer_patterns(place: str, document: object) -> None:
    """Refuse a tokenizer with a pattern whose search may take very long.

    Args:
        place: the file.
        document: its content.

    Raises:
        FormatError: there is one; it is named.

    >>> check_tokenizer_patterns("t.json", {"pattern": {"Regex": "(a+)+$"}})
    Traceback (most recent call last):
    explorer.errors.FormatError: t.json: has the pattern (a+)+$, whose search may take very \
long: what it repeats is itself repeated or a choice; expected patterns that repeat single \
characters, as published tokenizers' do; take the tokenizer of the model's publisher
    """
    for pattern in _patterns(document):
        if reason := _reason(pattern):
            raise FormatError(
                place,
                found=f"has the pattern {printable(pattern, 60)}, whose search may take "
                f"very long: {reason}",
                expected="patterns that repeat single characters, as published tokenizers' do",
                cure="take the tokenizer of the model's publisher",
            )


def _patterns(document: object) -> Iterator[str]:
    """Yield what any object of a document has as "Regex"."""
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(found := node.get("Regex"), str):
                yield found
            waiting.extend(each for key, each in node.items() if key != "vocab")
        elif isinstance(node, list) and not all(isinstance(each, str) for each in node):
            waiting.extend(node)


class _Quantifier(NamedTuple):
    """What follows an atom: where it ends, and how often the atom may be there."""

    end: int
    varies: bool
    is_many: bool
    backtracks: bool


class _OpenGroup:
    """What is known of an open group: whether its length varies, and what it repeats."""

    def __init__(self) -> None:
        self.varies = self.chooses = False
        self.many = self.most = 0  # of this alternative, and of all before it

    def add(self, many: int) -> None:
        """Take in what an atom repeats."""
        self.many += many
        self.most = max(self.most, self.many)


def _reason(pattern: str) -> str:
    """Return why the search of a pattern may take long; empty where it does not."""
    if len(pattern) > _LONGEST:
        return f"it has {len(pattern):,} characters"
    groups, at = [_OpenGroup()], 0
    while at < len(pattern):
        char, inner = pattern[at], None
        if char == "(":
            groups.append(_OpenGroup())
            if len(groups) > _DEEPEST:
                return f"more than {_DEEPEST} groups are in one another"
            at += 2 if pattern[at + 1 : at + 2] == "?" else 1
            continue
        if char == "|":
            groups[-1].chooses, groups[-1].many = True, 0
            at += 1
            continue
        if char == "\\" and pattern[at + 1 : at + 2] in tuple("123456789kg"):
            return "it refers to what it matched before"
        if char == ")" and len(groups) > 1:
            inner = groups.pop()
        repeat = _repeat(pattern, _after(pattern, at))
        if pattern[repeat.end : repeat.end + 1] in tuple("*+?{") and repeat.varies:
            return "what it repeats is itself repeated or a choice"
        if inner is not None:
            if repeat.is_many and (inner.varies or inner.chooses):
                return "what it repeats is itself repeated or a choice"
            groups[-1].varies |= inner.varies or inner.chooses
            groups[-1].add(inner.most)
        groups[-1].varies |= repeat.varies
        groups[-1].add(int(repeat.is_many and repeat.backtracks))
        if groups[-1].most > _MOST:
            return f"it repeats more than {_MOST} characters one after the other"
        at = repeat.end
    return ""


def _after(pattern: str, at: int) -> int:
    """Return where an atom ends: a character, an escape, or a class with those inside it."""
    if pattern[at] == "\\":
        end = at + 2
        if pattern[at + 1 : at + 2] in ("p", "P", "x") and pattern[end : end + 1] == "{":
            end = pattern.find("}", end) + 1 or len(pattern)
        return end
    if pattern[at] != "[":
        return at + 1
    depth = 0
    while at < len(pattern):
        char = pattern[at]
        depth += (char == "[") - (char == "]")
        at += 2 if char == "\\" else 1
        if not depth:
            break
    return at


def _repeat(pattern: str, at: int) -> _Quantifier:
    """Return the quantifier at a place; once, where there is none."""
    char = pattern[at : at + 1]
    if char in tuple("*+?"):
        is_possessive = pattern[at + 1 : at + 2] == "+"
        is_lazy = pattern[at + 1 : at + 2] == "?"
        end = at + 1 + (is_possessive or is_lazy)
        return _Quantifier(end, True, char != "?", not is_possessive)
    end = pattern.find("}", at)
    least, comma, most = pattern[at + 1 : max(end, at + 1)].partition(",")
    if char != "{" or not f"{least}{most}".isdecimal():
        return _Quantifier(at, False, False, False)
    is_many = (most or ("" if comma else least)) != "1"
    end += 1
    if pattern[end : end + 1] == "+" and pattern[end + 1 : end + 2] in ("", "|"):
        return _Quantifier(
            end + 1, True, True, True
        )  # `{1,3}+`: the last of an alternative
    end += pattern[end : end + 1] == "?"
    return _Quantifier(end, bool(comma), is_many, bool(comma))
