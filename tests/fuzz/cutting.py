"""How a file is cut into the parts that its mutator changes, and joined again."""

import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Parts", "Seed", "file_of", "opcodes", "tokens", "words"]

Parts = list[bytes]
_TOKEN = re.compile(rb'"[^"]*"|-?[0-9.]+|\s+|\w+|.', re.DOTALL)


class Seed(NamedTuple):
    """The parts of one file, and the function that writes a case of changed parts.

    `read` reads a case and returns the bytes of its arrays; None for a checkpoint, which is
    listed and loaded.
    """

    parts: Parts
    write: Callable[[Path, Parts], Path]
    read: Callable[[Path], int] | None = None


def file_of(
    name: str, frame: Callable[[bytes], bytes] = bytes
) -> Callable[[Path, Parts], Path]:
    """Return the function that writes parts to a file; a frame adds what is beside them."""

    def write(folder: Path, parts: Parts) -> Path:
        path = folder / name
        path.write_bytes(frame(b"".join(parts)))
        return path

    return write


def tokens(raw: bytes) -> Parts:
    """Cut JSON, a Python literal or code into its tokens."""
    return _TOKEN.findall(raw)


def words(raw: bytes, width: int = 4) -> Parts:
    """Cut at the first bytes that are not text, and into numbers of one width otherwise."""
    return re.findall(rb"[\x20-\x7e]{3,}|[^\x20-\x7e]{1,%d}|." % width, raw, re.DOTALL)


def opcodes(raw: bytes) -> Parts:
    """Cut a pickle into its opcodes with their arguments."""
    at = [position for _, _, position in pickletools.genops(raw)]
    return [raw[i:j] for i, j in zip(at, [*at[1:], len(raw)], strict=True)]
