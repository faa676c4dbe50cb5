"""Memory of a CPU's steps: kept for the next step, rather than asked for anew."""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# parameters of mallopt(3), and the values that they are set to, in this order
_ARENA_MAX = (
    -8,
    1,
)  # one heap for all threads: others than the first are of 64 MiB at most
_MMAP_MAX = (-4, 0)  # no memory is asked for apart from the heap
_TRIM_THRESHOLD = (-1, (1 << 31) - 1)  # bytes at its end that are not given back


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, so that a step on a CPU finds its memory there.

    XLA asks for the temporaries of a step anew at each call, and the system hands them out as
    zeroed pages, each at the cost of a page fault: a sixth of the processor time of a small GPT.
    Call it once, first in a script, before JAX computes anything. The process is larger
    afterwards, as by the most that compiling took. Devices other than CPUs gain nothing.

    Returns:
        Whether it is so from here on: on Linux with the GNU C library. Elsewhere nothing changes.

    >>> keep_freed_memory()  # doctest: +SKIP
    True
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all(mallopt(*setting) for setting in (_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD))
