"""Every error that explorer raises on purpose, and the formatting of its message.

    ExplorerError
    ├── InputError               invalid input: the command exits with 2
    │   ├── TargetError          no such target, or nothing in it that explorer can read
    │   ├── FormatError          a file that violates its format (a ValueError)
    │   ├── UnsafePickleError    a pickle that would run code
    │   ├── TreeError            a tree with a leaf that is not an array (a TypeError)
    │   └── MissingPackageError  an optional package is not installed (an ImportError)
    └── MismatchError            a check failed: the command exits with 1 (an AssertionError)

Every message is one line: place, what was found, what was expected, the cure.
"""

import os
import re
from collections.abc import Iterable
from operator import index
from typing import Any

__all__ = [
    "ExplorerError",
    "FormatError",
    "InputError",
    "MismatchError",
    "MissingPackageError",
    "TargetError",
    "TreeError",
    "UnsafePickleError",
    "check_number",
    "check_path",
    "check_type",
    "first_few",
    "first_line",
    "printable",
    "shown",
]


def printable(text: object, limit: int = 120) -> str:
    """Return text that comes from data as one safe line of at most `limit` characters.

    Control characters, newlines, terminal escapes, bidirectional marks and lone
    surrogates become backslash escapes; a text that is too long is cut in the middle.

    >>> printable("a\\nb\\x1b[31m")
    'a\\\\nb\\\\x1b[31m'
    >>> printable("x" * 500, limit=9)
    'xxxx…xxxx'
    """
    if type(text) is str and len(text) <= limit and text.isascii() and text.isprintable():
        return text
    try:
        raw = str(text)
    except Exception:  # of an array that was deleted, or a class of the user's
        raw = f"<{type(text).__name__}>"
    if len(raw) > 4 * limit:  # escape only what is shown
        raw = raw[: 2 * limit] + raw[-2 * limit :]
    safe = (
        raw
        if raw.isascii() and raw.isprintable()
        else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in raw)
    )
    if len(safe) <= limit:
        return safe
    head = limit // 2
    return safe[:head] + "…" + safe[len(safe) - (limit - head - 1) :]


def shown(value: object, limit: int = 120) -> str:
    """Return how Python writes a value, as one safe line, or what it is where it has no text.

    >>> shown("a\\nb"), shown(None)
    ("'a\\\\nb'", 'None')
    """
    try:
        return printable(repr(value), limit)
    except Exception:  # of an array that was deleted, or a class of the user's
        return f"<{type(value).__name__}>"


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, without a trailing link.

    The error's class is included if its text alone is unclear, as that of a KeyError.

    >>> first_line(ValueError("shapes differ. (https://example.org/errors)\\nand so on"))
    'shapes differ.'
    """
    kind, text = type(error).__name__, str(error).strip().partition("\n")[0]
    text = re.sub(r"\s*\(https?://\S+\)$", "", text)
    return f"{kind}: {text}" if isinstance(error, KeyError) else text or kind


def first_few(items: Iterable[str], total: int = 0, at_least: bool = False) -> str:
    """Return the first three of some texts and the number of the rest.

    Args:
        items: the texts.
        total: their number; by default, as many as are given.
        at_least: whether there may be more than `total`.

    >>> first_few("abcde")
    'a, b, c and 2 more'
    >>> first_few("abc", 10_000, at_least=True)
    'a, b, c and at least 9,997 more'
    """
    texts = list(items)
    rest = (total or len(texts)) - 3
    more = f" and {'at least ' if at_least else ''}{rest:,} more" if rest > 0 else ""
    return ", ".join(texts[:3]) + more


class ExplorerError(Exception):
    """Base class of the errors that explorer raises on purpose.

    >>> issubclass(FormatError, ExplorerError), issubclass(MismatchError, ExplorerError)
    (True, True)
    """


class InputError(ExplorerError):
    """Invalid input; the message gives the place, what was found, what was expected, the cure.

    Args:
        place: the file, or the path in a tree.
        found: what is wrong there.
        expected: what would be valid; may be empty.
        cure: what the reader can do; may be empty.

    >>> print(InputError("a.bin", found="is empty", cure="download it again"))
    a.bin: is empty; download it again
    """

    def __init__(self, place: object, *, found: str, expected: str = "", cure: str = ""):
        self.place, self.found, self.expected, self.cure = place, found, expected, cure
        wanted = f"expected {expected}" if expected else ""
        parts = "; ".join(part for part in (found, wanted, cure) if part)
        super().__init__(f"{printable(place, 300)}: {printable(parts, 1000)}")


class TargetError(InputError):
    """No such target, or nothing in it that explorer can read.

    >>> print(TargetError("gpt9", found="no such file or folder"))
    gpt9: no such file or folder
    """


class FormatError(InputError, ValueError):
    """A file that violates its format.

    >>> print(FormatError("a.npz", found="is cut short", cure="download it again"))
    a.npz: is cut short; download it again
    """


class UnsafePickleError(InputError):
    """A pickle that references a name outside the allow-list; it was not executed.

    >>> print(UnsafePickleError("a.bin", found="references os.system"))
    a.bin: references os.system
    """


class TreeError(InputError, TypeError):
    """A tree with a leaf that is not an array, or an argument of the wrong type.

    >>> print(TreeError("layers/0", found="is str", expected="an array"))
    layers/0: is str; expected an array
    """


class MissingPackageError(InputError, ImportError):
    """An optional package is needed and not installed.

    >>> print(MissingPackageError("m.gguf", found="needs gguf", cure="pip install gguf"))
    m.gguf: needs gguf; pip install gguf
    """


class MismatchError(ExplorerError, AssertionError):
    """A check failed: parameters differ from a stated count or from a lock.

    >>> raise MismatchError("expected 100 parameters, found 101")
    Traceback (most recent call last):
    explorer.errors.MismatchError: expected 100 parameters, found 101
    """


def check_type(
    place: str, value: object, kinds: Any, expected: str, cure: str = ""
) -> None:
    """Refuse an argument of another type.

    >>> check_type("text", b"abc", str, "a str")
    Traceback (most recent call last):
    explorer.errors.TreeError: text: is bytes; expected a str
    """
    if not isinstance(value, kinds):
        kind = f"the class {value.__name__}" if isinstance(value, type) else ""
        found = "is None" if value is None else f"is {kind or type(value).__name__}"
        raise TreeError(place, found=found, expected=expected, cure=cure)


def check_path(
    place: str, value: object, named: str = "the name of a file or a folder"
) -> None:
    """Refuse a path that is not text, and a text that no file can have as its name.

    >>> check_path("folder", 3)
    Traceback (most recent call last):
    explorer.errors.TreeError: folder: is int; expected a str or a pathlib.Path
    """
    expected = "a str or a pathlib.Path"
    check_type(place, value, (str, os.PathLike), expected)
    text: Any = os.fspath(value)  # pyright: ignore[reportCallIssue, reportArgumentType]
    check_type(place, text, str, expected)
    if "\0" in text or not text:
        found = "holds a null character" if text else "has no name"
        raise InputError(place, found=found, expected=named)


def check_number(place: str, value: object) -> None:
    """Refuse what is not a whole number.

    >>> check_number("size", 1.5)
    Traceback (most recent call last):
    explorer.errors.TreeError: size: is float; expected a whole number
    """
    try:
        index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:  # of NumPy's arrays too, unless they hold one whole number
        check_type(place, value, (), "a whole number")
