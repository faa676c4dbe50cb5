"""Best times of processes and calls, and the format in which benchmarks print ratios."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["best", "best_call", "peak_memory", "report", "script"]


def script(name: str) -> Path:
    """Return a console script of the environment that runs the benchmark."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        sys.exit(f"{name} is not installed: pip install -e '.[bench]'")
    return path


def best(command: list, repeats: int = 15, *, printed: bool = False) -> float:
    """Return the best of some runs in seconds: of the process, or the time that it prints."""
    words = [str(word) for word in command]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        took = time.perf_counter() - start
        times.append(float(done.stdout.split()[-1]) if printed else took)
    return min(times)


def best_call(
    call: Callable[[], object],
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the best time of some calls in this process, in seconds of a clock."""
    times = []
    for _ in range(repeats):
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)


def peak_memory(command: list) -> int:
    """Return the peak resident memory of a process in MB."""
    watch = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-c", watch, *(str(word) for word in command)]
    return (
        int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        // 1000
    )


def report(what: str, ours: float, peer: str, theirs: float, *, goal: str) -> None:
    """Print both times and their ratio."""
    ratio = theirs / ours
    words = f"{ratio:.2f}x faster" if ratio >= 1 else f"{1 / ratio:.2f}x its time"
    print(f"{what}\n  explorer {ours:.4f} s, {peer} {theirs:.4f} s: {words} (goal: {goal})")
