"""Runs one case in a child: its processor time, its memory, and how it ended.

A child is forked from this process, which has imported the readers, and returns nothing but its
exit code and one line. What is promised is checked against the bytes of the case.
"""

import os
import resource
import sys
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from explorer.errors import InputError

__all__ = ["Outcome", "broken_promise", "run"]

MEMORY, MEMORY_PER_BYTE = 64_000_000, 50
SECONDS, SECONDS_PER_MB = 2.0, 1.0
_LIMIT = (
    12_000_000_000  # of address space: a case beyond it is a fault, and the machine lives
)
_LIMIT_SECONDS = 60


class Outcome(NamedTuple):
    """How a case ended: "read", "refused", "crashed" or "killed", its line, and what it took.

    Memory is in bytes above that of a child that does nothing; seconds are of the processor.
    `arrays` are the bytes of the arrays that were loaded.
    """

    end: str
    line: str
    seconds: float
    memory: int
    arrays: int = 0


def run(action: Callable[[], int]) -> Outcome:
    """Run an action that returns the bytes of the arrays it loaded."""
    found = _child(action)
    return found._replace(memory=max(0, found.memory - _idle()))


def broken_promise(outcome: Outcome, nbytes: int) -> str:
    """Return which promise a case of so many bytes broke; "" for none."""
    memory = MEMORY + MEMORY_PER_BYTE * nbytes + outcome.arrays
    seconds = SECONDS + SECONDS_PER_MB * nbytes / 1e6
    if outcome.end not in ("read", "refused"):
        return f"{outcome.end}: {outcome.line}"
    if "\n" in outcome.line:
        return f"more than one line: {outcome.line!r}"
    if outcome.memory > memory:
        return f"{outcome.memory:,} bytes of memory, {memory:,} at most ({outcome.line})"
    if outcome.seconds > seconds:
        return f"{outcome.seconds:.1f} s of the processor, {seconds:.1f} at most ({outcome.line})"
    return ""


@cache
def _idle() -> int:
    """Return the memory of a child that does nothing."""
    return _child(lambda: 0).memory


def _child(action: Callable[[], int]) -> Outcome:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _act(action, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read().decode("utf-8", "replace")
    _, status, used = os.wait4(child, 0)
    seconds, memory = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    if not said:
        return Outcome("killed", f"by signal {os.WTERMSIG(status)}", seconds, memory)
    end, arrays, line = said.split(" ", 2)
    return Outcome(end, line, seconds, memory, int(arrays))


def _act(action: Callable[[], int], writer: int) -> None:
    """Do it in the child, say how it ended, and end the child."""
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT, _LIMIT))
    resource.setrlimit(resource.RLIMIT_CPU, (_LIMIT_SECONDS, _LIMIT_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    try:
        said = f"read {action()} "
    except InputError as error:
        said = f"refused 0 {error}"
    except BaseException as error:
        said = f"crashed 0 {type(error).__name__}: {str(error)[:200]}"
    os.write(writer, said.encode("utf-8", "backslashreplace")[:60_000])
    os._exit(0)
