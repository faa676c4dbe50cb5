"""What a command prints in a terminal: colours where they are wanted, and the pager."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.in_process import run

BAR = "\x1b[38;5;36m█"  # of the component mlp
NAMES = (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "CLICOLOR",
    "LESS",
    "COLUMNS",
    "TERM",
    "PAGER",
)


class Terminal:
    """A command in a terminal of its own, of 24 lines of 80 cells."""

    def __init__(self, *args: str, **variables: str):
        self.said = ""
        environment = {k: v for k, v in os.environ.items() if k not in NAMES}
        environment |= {"TERM": "xterm-256color", "PYTHONPATH": os.getcwd()} | variables
        self.master, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "explorer", *args],
            stdin=side,
            stdout=side,
            stderr=side,
            env=environment,
            start_new_session=True,
        )
        os.close(side)

    def until(self, text: str, seconds: float = 60) -> bool:
        """Read until a text was printed; return whether it was."""
        end = time.monotonic() + seconds
        while text not in self.said and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0] and not self._read():
                break
        return text in self.said

    def keys(self, text: str) -> None:
        os.write(self.master, text.encode())

    def rest(self) -> tuple[str, int]:
        """Return all that is printed until the end, and the exit code."""
        while self._read():
            pass
        code = self.process.wait()
        os.close(self.master)
        return self.said, code

    def _read(self) -> bool:
        try:
            chunk = os.read(self.master, 1 << 16)
        except OSError:  # the terminal is closed
            return False
        self.said += chunk.decode(errors="replace")
        return bool(chunk)


def printed(*args: str, **variables: str) -> str:
    return Terminal(*args, **{"PAGER": "cat"} | variables).rest()[0]


@pytest.fixture
def plain(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "variables", "coloured"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": ""}, True),  # no-color.org: only if it is not empty
        ((), {"TERM": "dumb"}, False),
        ((), {"CLICOLOR": "0"}, False),
        (("--no-color",), {"FORCE_COLOR": "1"}, False),
        (("--color",), {"NO_COLOR": "1"}, True),
    ],
)
def test_a_terminal_has_colours_unless_they_are_refused(args, variables, coloured):
    text = printed(*args, "show", "gpt2", **variables)
    assert (BAR in text) == coloured
    assert ("\x1b[" in text) == coloured


@pytest.mark.parametrize(
    ("args", "variables", "coloured"),
    [
        ((), {}, False),
        ((), {"FORCE_COLOR": "1"}, True),
        ((), {"CLICOLOR_FORCE": "1"}, True),
        ((), {"FORCE_COLOR": "0"}, False),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ((), {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        (("--color",), {}, True),
    ],
)
def test_a_pipe_has_none_unless_they_are_forced(plain, args, variables, coloured):
    for command in ((*args, "show", "gpt2"), ("show", "gpt2", *args)):
        text = run(*command, **variables).stdout
        assert (BAR in text) == coloured
        assert ("\x1b[" in text) == coloured


@pytest.mark.parametrize("form", ["--json", "--csv", "--md"])
def test_other_forms_have_no_colours(plain, form):
    assert "\x1b" not in run("--color", "show", "gpt2", form).stdout


@pytest.fixture
def pager(tmp_path: Path) -> str:
    """A pager that marks what goes through it."""
    script = tmp_path / "pager"
    script.write_text("#!/bin/sh\necho PAGED\ncat\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.process
def test_a_long_result_is_paged_in_a_terminal(pager):
    assert "PAGED" in printed("show", "gpt2", PAGER=pager)
    assert "PAGED" not in printed("count", "gpt2", PAGER=pager)
    assert "PAGED" not in printed("--no-pager", "show", "gpt2", PAGER=pager)
    assert "PAGED" not in printed("show", "gpt2", PAGER="cat")
    assert "PAGED" not in printed("show", "gpt2", PAGER="")


@pytest.mark.process
def test_the_exit_code_is_that_of_the_command(pager):
    assert (
        Terminal("compare", "gpt2", "gpt2-medium", "--exit-code", PAGER=pager).rest()[1]
        == 1
    )
    assert Terminal("show", "gpt2", PAGER=pager).rest()[1] == 0


@pytest.mark.process
def test_a_pager_that_ends_early_raises_nothing(tmp_path):
    script = tmp_path / "pager"
    script.write_text("#!/bin/sh\nhead -n 1\n")
    script.chmod(0o755)
    said, code = Terminal("show", "deepseek-v3", "--all", PAGER=str(script)).rest()
    assert code == 0
    assert "deepseek-v3" in said
    assert "Traceback" not in said
    assert "Error" not in said


@pytest.mark.process
@pytest.mark.skipif(not os.path.exists("/usr/bin/less"), reason="less is not installed")
def test_less_keeps_colours_and_ends_on_q():
    shown = Terminal("show", "gpt2")
    assert shown.until("gpt2")
    assert shown.until(":") or shown.until("\x1b[7m")  # the prompt
    shown.keys("q")
    said, code = shown.rest()
    assert (code, "Traceback" in said) == (0, False)
    assert "\x1b[38;5;36m" in said


@pytest.mark.process
def test_ctrl_c_in_the_pager_leaves_no_trace(tmp_path):
    script = tmp_path / "pager"
    script.write_text(
        "#!/bin/sh\ntrap 'exit 0' INT\ncat >/dev/null\necho READY\nread key <&1\n"
    )
    script.chmod(0o755)
    shown = Terminal("show", "gpt2", PAGER=str(script))
    assert shown.until("READY")
    time.sleep(0.3)
    os.killpg(shown.process.pid, signal.SIGINT)
    said, code = shown.rest()
    assert "Traceback" not in said
    assert code in (0, 130)
    assert not re.search("Error", said)
