"""Every error that explorer raises on purpose, and the words it is told in.

    ExplorerError
    ├── InputError             the input is at fault: the command exits with 2
    │   ├── TargetError        no such target, or nothing in it that explorer knows
    │   ├── FormatError        a file that breaks the rules of its format (a ValueError)
    │   ├── UnsafePickleError  a pickle that wants to run code
    │   ├── TreeError          a tree with something in it that is no array (a TypeError)
    │   └── MissingPackageError  an optional library is needed (an ImportError)
    └── MismatchError          the answer is "no": the command exits with 1 (an AssertionError)

Every message is one line: place, what was found, what was expected, the cure.
"""

import re

__all__ = [
    "ExplorerError",
    "FormatError",
    "InputError",
    "MismatchError",
    "MissingPackageError",
    "TargetError",
    "TreeError",
    "UnsafePickleError",
    "first_line",
    "printable",
]


def printable(text: object, limit: int = 120) -> str:
    """Return text that came from data as one safe line of at most `limit` characters.

    Control characters, line ends, terminal escapes, bidirectional marks and lone
    surrogates become backslash escapes; an over-long text keeps both its ends.

    >>> printable("a\\nb\\x1b[31m")
    'a\\\\nb\\\\x1b[31m'
    >>> printable("x" * 500, limit=9)
    'xxxx…xxxx'
    """
    raw = str(text)
    if len(raw) > 4 * limit:  # escape only what can be shown
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


def first_line(error: BaseException) -> str:
    """Return what an error of another library says first, without the link it ends in.

    Its kind is told where its text says too little, as that of a KeyError does.

    >>> first_line(ValueError("shapes differ. (https://example.org/errors)\\nand so on"))
    'shapes differ.'
    """
    kind, text = type(error).__name__, str(error).strip().partition("\n")[0]
    text = re.sub(r"\s*\(https?://\S+\)$", "", text)
    return f"{kind}: {text}" if isinstance(error, KeyError) else text or kind


class ExplorerError(Exception):
    """Base of everything explorer raises on purpose."""


class InputError(ExplorerError):
    """The input is at fault; the message says where, what, what was expected, the cure.

    Args:
        place: the file, or the path inside a tree.
        found: what is wrong there.
        expected: what would have been right; may be empty.
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
    """No such target, or nothing in it that explorer knows."""


class FormatError(InputError, ValueError):
    """A file that breaks the rules of its format."""


class UnsafePickleError(InputError):
    """A pickle that names something outside the allow-list; it was not executed."""


class TreeError(InputError, TypeError):
    """A tree with a leaf that is no array, or an argument of the wrong kind."""


class MissingPackageError(InputError, ImportError):
    """An optional library is needed and not installed."""


class MismatchError(ExplorerError, AssertionError):
    """The answer is "no": counts or a lock differ from what was found."""
