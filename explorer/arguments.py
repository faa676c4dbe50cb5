"""Arguments of public functions: of the kind that a function takes, or refused in one line."""

from collections.abc import Iterable, Mapping
from math import isfinite
from numbers import Real
from operator import index
from typing import Any

from explorer.errors import InputError, TreeError, shown

__all__ = ["as_names", "check_kinds", "check_tree_given"]


def check_kinds(*given: tuple[str, object, str]) -> None:
    """Refuse arguments of another kind.

    Args:
        given: of each argument its name, its value and what it may be: one of `_KINDS`, or one
            of them "or None".

    Raises:
        TreeError: an argument is of another type.
        InputError: a number that is not finite, or too large to count with.

    >>> check_kinds(("rank", 4, "a whole number"), ("alpha", None, "a number or None"))
    >>> check_kinds(("rank", "4", "a whole number"))
    Traceback (most recent call last):
    explorer.errors.TreeError: rank: is '4' (str); expected a whole number
    """
    for place, value, kind in given:
        if value is None and kind.endswith(" or None"):
            continue
        if not _KINDS[kind.removesuffix(" or None")](value):
            is_number = type(value) in (int, float) and "number" in kind
            refuse = InputError if is_number else TreeError
            raise refuse(place, found=_found(value), expected=kind)


def _found(value: object) -> str:
    if value is None:
        return "is None"
    if isinstance(value, type):
        return f"is the class {shown(value.__name__, 60)}"
    kind = type(value).__name__
    simple = isinstance(value, str | bytes | bool | int | float)
    return f"is {shown(value, 60)} ({kind})" if simple else f"is {kind}"


def _is_whole(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and abs(index(value)) < 1 << 63
    except Exception:  # of arrays of one element: whatever their library says
        return False


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an int that no float holds
        return False


def _are_names(value: Any) -> bool:
    if isinstance(value, str):
        return True
    several = isinstance(value, list | tuple | set | frozenset)
    return several and all(isinstance(name, str) for name in value)


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ == "bool_"


_KINDS = {
    "a str": lambda value: isinstance(value, str),
    "a whole number": _is_whole,
    "a number": _is_number,
    "True or False": _is_flag,
    "a str or a list of them": _are_names,
    "a dict": _is_dict,
    "a function": lambda value: callable(value) and not isinstance(value, type),
    "an iterable": lambda value: (
        isinstance(value, Iterable) and not isinstance(value, type)
    ),
}


def check_tree_given(place: str, value: object, expected: str) -> None:
    """Refuse what cannot be a tree of arrays: None, a text, a number, a class, a module.

    >>> check_tree_given("params", 3, "parameters")
    Traceback (most recent call last):
    explorer.errors.TreeError: params: is 3 (int); expected parameters
    """
    plain = isinstance(value, str | bytes | int | float | type) or value is None
    if plain or value is ... or type(value).__name__ in ("module", "object"):
        raise TreeError(place, found=_found(value), expected=expected)


def as_names(place: str, names: Any) -> tuple[str, ...]:
    """Return several strs as a tuple; one str is refused, whose letters are not names.

    >>> as_names("rows", ["a"])
    ('a',)
    >>> as_names("rows", "ab")
    Traceback (most recent call last):
    explorer.errors.TreeError: rows: is 'ab' (str); expected several strs
    """
    several = isinstance(names, Iterable) and not isinstance(names, str | bytes | type)
    try:
        found = tuple(names) if several else (None,)
    except Exception:  # of an array that is traced, or was deleted
        found = (None,)
    if not all(isinstance(name, str) for name in found):
        raise TreeError(place, found=_found(names), expected="several strs")
    return tuple(map(str, found))  # of NumPy's too
