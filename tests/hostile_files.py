"""What may be where explorer writes or reads, and a picture of a folder to compare."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

__all__ = ["OBSTACLES", "SPECIAL", "snapshot"]

THESIS = "years of work\n" * 20


def _kept(path: Path) -> Path:
    """Return a file of the user's beside a path."""
    kept = path.with_name("thesis.txt")
    kept.write_text(THESIS)
    return kept


# each puts something in a place that explorer wants to write to
OBSTACLES: dict[str, Callable[[Path], object]] = {
    "a text": lambda path: path.write_text(THESIS),
    "an empty file": lambda path: path.touch(),
    "a link": lambda path: path.symlink_to(_kept(path)),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("no-such-file")),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a folder": lambda path: path.symlink_to(path.parent),
    "a second name": lambda path: os.link(_kept(path), path),
    "a fifo": lambda path: os.mkfifo(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}


def _link_to_a_fifo(path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    path.symlink_to(pipe)


# each puts something in a place that explorer reads: it never ends, or is waited for
SPECIAL: dict[str, Callable[[Path], object]] = {
    "a fifo": lambda path: os.mkfifo(path),
    "a link to a fifo": _link_to_a_fifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}


def snapshot(folder: Path) -> dict[str, object]:
    """Return all that is in a folder: what each name is, its content, its time of change."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: object = b""
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes(), status.st_mtime_ns
        elif path.is_symlink():
            content = os.readlink(path)
        found[path.relative_to(folder).as_posix()] = (status.st_mode, content)
    return found
