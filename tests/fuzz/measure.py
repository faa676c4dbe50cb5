"""Runs cases in children: their processor time, their memory, and how they ended.

A child is forked from this process, which has imported the readers. `run` measures one case;
`stretch` runs thousands in one child and stops at the first that is not plainly well, which is
then run alone. What is promised is checked against the bytes of the case.
"""

import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from explorer.errors import InputError

__all__ = ["Outcome", "broken_promise", "pace", "run", "stretch"]

MEMORY, MEMORY_PER_BYTE = 64_000_000, 50
SECONDS, SECONDS_PER_MB = 2.0, 1.0
SECONDS_PER_MB_OF_ARRAYS = 0.01
_REFERENCE = 0.12  # seconds, of an idle core
_SLOWEST = 4.0
_LIMIT = (
    12_000_000_000  # of address space: a case beyond it is a fault, and the machine lives
)
_LIMIT_SECONDS = 60
# a case of a stretch is run alone once it, or all cases together, took more than this
_LOOK_SECONDS, _LOOK_MEMORY = 1.0, 32_000_000
_STRETCH_SECONDS = 30


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
    seconds += SECONDS_PER_MB_OF_ARRAYS * outcome.arrays / 1e6
    if outcome.end not in ("read", "refused"):
        return f"{outcome.end}: {outcome.line}"
    if "\n" in outcome.line:
        return f"more than one line: {outcome.line!r}"
    if outcome.memory > memory:
        return f"{outcome.memory:,} bytes of memory, {memory:,} at most ({outcome.line})"
    if outcome.seconds > seconds and outcome.seconds > seconds * pace():
        return f"{outcome.seconds:.1f} s of the processor, {seconds:.1f} at most ({outcome.line})"
    return ""


def pace() -> float:
    """Return how many times slower than a reference core this one is now; 1 at least.

    The seconds are promised of a core that does this work on small texts and tuples, of a
    reader's kind, in `_REFERENCE` seconds: one of a host that others use takes two or three
    times as long, and changes from one minute to the next.
    """
    taken = []
    for _ in range(3):
        begin = time.process_time()
        names = (f"layers.{n}.{7 * n % 1000}.weight" for n in range(100_000))
        table = {tuple(name.split(".")): [name] for name in names}
        sorted(table, key=lambda path: path[1])
        taken.append(time.process_time() - begin)
    return min(max(min(taken) / _REFERENCE, 1.0), _SLOWEST)


def stretch(action: Callable[[int], int], first: int, end: float) -> tuple[int, bool]:
    """Run cases in one child, by their numbers from `first`; return the next, and if it is to be run alone.

    Args:
        action: runs the case of a number; case -1 is the seed itself.
        first: the first number.
        end: the time, of time.monotonic, at which to stop.
    """
    number = mmap.mmap(-1, 8)
    number[:] = first.to_bytes(8, "little")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _many(action, number, first, end)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return int.from_bytes(number[:], "little"), status != 0


def _many(action: Callable[[int], int], number: mmap.mmap, first: int, end: float) -> int:
    _prepare(_LIMIT_SECONDS + _STRETCH_SECONDS)
    end = min(end, time.monotonic() + _STRETCH_SECONDS)
    with suppress(InputError):
        action(-1)
    memory = _most_memory()
    while time.monotonic() < end:
        signal.alarm(_LIMIT_SECONDS)
        begin = time.process_time()
        try:
            action(first)
        except InputError as error:
            if "\n" in str(error):
                return 1
        if time.process_time() - begin > _LOOK_SECONDS:
            return 1
        if _most_memory() - memory > _LOOK_MEMORY:
            return 1
        first += 1
        number[:] = first.to_bytes(8, "little")
    return 0


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
    _prepare(_LIMIT_SECONDS)
    signal.alarm(2 * _LIMIT_SECONDS)
    try:
        said = f"read {action()} "
    except InputError as error:
        said = f"refused 0 {error}"
    except BaseException as error:
        said = f"crashed 0 {type(error).__name__}: {str(error)[:200]}"
    os.write(writer, said.encode("utf-8", "backslashreplace")[:60_000])
    os._exit(0)


def _prepare(seconds: int) -> None:
    """Give the child its limits, and let what libraries print go nowhere."""
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT, _LIMIT))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
