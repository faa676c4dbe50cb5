"""Text to train on without a download, and the two simplest ways to make numbers of it."""

import os
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from explorer.errors import (
    InputError,
    TargetError,
    check_number,
    check_path,
    check_type,
    printable,
)
from explorer.storage.local import read_whole

__all__ = ["Bytes", "Characters", "Tokeniser", "library_text"]

_LARGEST = 1 << 24  # bytes of a source
# of Python's own library, in every version from 3.11 on: prose and code, all of it ASCII
_MODULES = (
    "argparse", "ast", "base64", "bdb", "bisect", "calendar", "cmd", "code", "codecs",
    "collections/__init__", "configparser", "contextlib", "copy", "csv", "dataclasses",
    "datetime", "difflib", "dis", "doctest", "enum", "filecmp", "fileinput", "fnmatch",
    "glob", "graphlib", "gzip", "hashlib", "hmac", "html/parser", "http/client",
    "http/cookies", "http/server", "imaplib", "inspect", "ipaddress", "json/decoder",
    "json/encoder", "linecache", "logging/__init__", "mailbox", "mimetypes", "netrc",
    "optparse", "pdb", "pickle", "pkgutil", "platform", "plistlib", "poplib", "pprint",
    "profile", "pstats", "pyclbr", "queue", "random", "reprlib", "sched", "secrets",
    "selectors", "shelve", "shutil", "smtplib", "socket", "socketserver", "ssl", "string",
    "subprocess", "symtable", "tarfile", "tempfile", "textwrap", "threading", "timeit",
    "tokenize", "trace", "traceback", "types", "typing", "unittest/case", "unittest/mock",
    "urllib/request", "uuid", "warnings", "wave", "weakref", "webbrowser",
)  # fmt: skip


def library_text(limit: int = 2_000_000, folder: str | Path | None = None) -> str:
    """Return sources of Python's own library, one after the other.

    The list of files is fixed and sorted; what a version of Python lacks is passed over.

    Args:
        limit: characters at most; what comes later is left out.
        folder: where the library is; None for that of the running Python.

    Raises:
        TargetError: the folder holds none of the files as sources.

    >>> library_text(22)
    '# Author: Steven J. Be'
    """
    if folder is not None:
        check_path("folder", folder)
    check_number("limit", limit)
    root = Path(folder or sysconfig.get_path("stdlib"))
    parts: list[str] = []
    for module in _MODULES:
        path = root / f"{module}.py"
        if limit <= 0:
            break
        if os.path.isfile(path):
            parts.append(_text_of(path)[:limit])
            limit -= len(parts[-1])
    if not parts:
        raise TargetError(
            root,
            found="holds no source of Python's library",
            expected=f"{_MODULES[0]}.py and others",
            cure="use a Python that was installed with its sources",
        )
    return "".join(parts)


def _text_of(path: Path) -> str:
    text = read_whole(str(path), _LARGEST).decode()
    return text.replace("\r\n", "\n")  # as Windows ends lines


class Tokeniser(Protocol):
    """A way from text to numbers and back: `decode(encode(text)) == text`, exactly."""

    @property
    def size(self) -> int:
        """How many tokens there are."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens of a text."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens."""
        ...


class Characters:
    """One token a character, of those that a text has.

    >>> tokeniser = Characters("hello")
    >>> tokeniser.alphabet, tokeniser.encode("hole").tolist()
    ('ehlo', [1, 3, 2, 0])
    >>> tokeniser.decode([1, 0, 2, 2, 3])
    'hello'
    """

    def __init__(self, text: str):
        check_type("text", text, str, "a str")
        self.alphabet = "".join(sorted(set(text)))
        self._points = _code_points(self.alphabet)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(self.alphabet)

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens of a text, uint16 or uint32.

        Raises:
            InputError: a character that is none of the alphabet.
        """
        points = _code_points(text)
        tokens = np.searchsorted(self._points, points)
        known = tokens < self.size
        known[known] = self._points[tokens[known]] == points[known]
        if not known.all():
            at = int(np.argmin(known))
            raise InputError(
                f"text[{at}]",
                found=f"{printable(ascii(text[at]))} is not in the alphabet",
                expected=f"one of {self.size:,} characters",
            )
        return tokens.astype(np.uint16 if self.size <= 2**16 else np.uint32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens.

        Raises:
            InputError: a token beyond the alphabet.
        """
        numbers = np.fromiter(tokens, np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.size:
            raise InputError(
                "tokens",
                found=f"numbers from {numbers.min()} to {numbers.max()}",
                expected=f"0 to {self.size - 1}",
            )
        return "".join(map(self.alphabet.__getitem__, numbers.tolist()))


class Bytes:
    """One token a byte of UTF-8.

    Bytes that a model makes up and that are not UTF-8 decode as U+FFFD.

    >>> Bytes().encode("aé").tolist(), Bytes().decode([97, 195, 169])
    ([97, 195, 169], 'aé')
    """

    size = 256

    def encode(self, text: str) -> np.ndarray:
        """Return the bytes of a text, uint8.

        Raises:
            InputError: a lone surrogate, which is not a character.
        """
        check_type("text", text, str, "a str")
        try:
            return np.frombuffer(text.encode("utf-8"), np.uint8)
        except UnicodeEncodeError as error:
            raise InputError(
                f"text[{error.start}]",
                found=f"{text[error.start]!a} is an unpaired surrogate",
                expected="text that UTF-8 can hold",
            ) from None

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of bytes.

        Raises:
            InputError: a number that is not a byte.
        """
        try:
            return bytes(tokens).decode("utf-8", "replace")
        except ValueError:
            raise InputError(
                "tokens", found="a number that is not a byte", expected="0 to 255"
            ) from None


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
