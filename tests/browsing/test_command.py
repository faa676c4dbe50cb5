"""explorer browse as a command: without a terminal, without textual, and of bad targets."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from explorer.errors import MissingPackageError
from tests.cli.in_process import run


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["gpt2"], "explorer show gpt2"),
        (["gpt2", "gpt2-medium"], "explorer compare gpt2 gpt2-medium"),
    ],
)
def test_without_a_terminal_it_names_the_command_that_prints(
    words: list[str], instead: str
):
    done = run("browse", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"explorer: browse: needs a terminal, which this is not; print it with: {instead}\n"
    )


@pytest.mark.parametrize("target", ["no-such-model", "gpt-4", "tests"])
def test_bad_targets_are_refused_as_by_show(target: str):
    assert run("browse", target)[:3] == run("show", target)[:3]
    assert run("browse", target).returncode == 2


def test_without_textual_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("explorer.browsing.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    with pytest.raises(MissingPackageError) as caught:
        __import__("explorer.browsing.app")
    assert str(caught.value) == (
        "browse: needs textual, which is not installed; pip install -e '.[tui]' in the repository"
    )


def _read(terminal: int, until: bytes = b"\0 never") -> bytes:
    """Return what is written to a terminal, up to a text, or to its end; at most for a minute."""
    seen, end = b"", time.monotonic() + 60
    while until not in seen:
        ready, _, _ = select.select([terminal], [], [], max(end - time.monotonic(), 0))
        assert ready, seen[-2000:]
        try:
            seen += os.read(terminal, 1 << 16)
        except OSError:  # the other side has closed it
            break
    return seen


@pytest.mark.process
@pytest.mark.parametrize(("ends", "code"), [(b"q", 0), (signal.SIGTERM, 143)])
def test_in_a_terminal_it_opens_and_gives_the_screen_back(ends, code: int):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 110, 0, 0))
    # which textual believes before the terminal itself
    sizes = ("COLUMNS", "LINES")
    variables = {name: value for name, value in os.environ.items() if name not in sizes}
    process = subprocess.Popen(
        [sys.executable, "-m", "explorer", "browse", "gpt2"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**variables, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    try:
        seen = _read(ours, b"final_norm")
        if isinstance(ends, bytes):
            os.write(ours, ends)
        else:
            process.send_signal(ends)
        seen += _read(ours)
        process.wait(30)
    finally:
        process.kill()
        os.close(ours)
    assert process.returncode == code
    assert b"Traceback" not in seen
    assert b"\x1b[?1049h" in seen  # the other screen
    assert b"\x1b[?1049l" in seen  # and back


def test_browsing_loads_no_array_library():
    script = (
        "import sys\n"
        "from explorer.browsing.session import BrowsingSession\n"
        "from explorer.browsing.subject import browsed\n"
        "import explorer.browsing.app\n"
        "BrowsingSession([browsed('gpt2')])\n"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
