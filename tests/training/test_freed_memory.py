"""Memory that a process frees is there when it asks again."""

import platform
import subprocess
import sys

import pytest

LARGE = """
import resource, sys
from explorer.training import keep_freed_memory
assert "jax" not in sys.modules, "it comes before JAX"
if sys.argv[1] == "kept":
    print(keep_freed_memory(), end=" ")
faults = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large = b"1" * 100_000_000  # its pages are written to
    del large
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
"""


def faults_of(way: str) -> list[str]:
    """Return what was printed: whether memory is kept, and faults of a late allocation."""
    command = [sys.executable, "-c", LARGE, way]
    return subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other allocators keep memory"
)
def test_pages_are_asked_for_once():
    kept, faults = faults_of("kept")
    assert kept == "True"
    assert int(faults) < 100
    (faults,) = faults_of("given back")
    assert int(faults) > 100, "else there is nothing to avoid"


def test_elsewhere_nothing_changes(monkeypatch: pytest.MonkeyPatch):
    from explorer.training import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
