"""Progress as text: what stands in a terminal, and what is left in a pipe."""

import fcntl
import io
import itertools
import os
import pty
import struct
import subprocess
import sys
import termios

from explorer.training.loop.progress import LineProgress, Report


def test_piped_progress_is_a_line_now_and_then():
    stream, now = io.StringIO(), iter([0.0, *(0.5 * n for n in range(200))])
    progress = LineProgress(stream, clock=lambda: next(now))
    for number in range(1, 61):
        evaluated = number == 30
        progress.report(
            Report(step=number, steps=60, metrics={"loss": 1 / number}, evaluated=evaluated)
        )
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 1/60  loss 1"
    assert lines[-1] == "step 60/60  loss 0.01667"
    assert "step 30/60  loss 0.03333" in lines
    assert len(lines) < 8
    assert "\r" not in stream.getvalue()


def test_live_progress_is_one_line_that_is_written_over():
    stream = io.StringIO()
    progress = LineProgress(stream, live=True, clock=iter(range(99)).__next__)
    for number, loss in ((1, 123.4), (2, 5)):
        progress.report(
            Report(
                step=number, steps=4, metrics={"loss": loss}, steps_per_second=0.5,
                tokens_per_second=1000,
            )
        )  # fmt: skip
    progress.note("seen")
    progress.report(Report(step=4, steps=4, metrics={"loss": 1}))
    progress.close()
    *lines, end = shown_in(stream.getvalue())
    bar = " 50%|##########          | step 2/4  loss 5  0.5 steps/s  1,000 tokens/s  0:04 left"
    assert lines == [
        [
            " 25%|#####               | step 1/4  loss 123.4  0.5 steps/s  1,000 tokens/s  0:06 left",
            bar,  # in the place of the first, and then that of the note
            "seen",
        ],
        [bar, "100%|####################| step 4/4  loss 1"],
    ]
    assert end == []


def shown_in(text: str) -> list[list[str]]:
    """Return what stood on each line, one after the other, without repeats."""
    return [
        [text for text, _ in itertools.groupby(map(str.rstrip, line.split("\r"))) if text]
        for line in text.split("\n")
    ]


def test_nothing_of_a_longer_line_is_left_beside_a_shorter_one():
    stream = io.StringIO()
    progress = LineProgress(stream, live=True, clock=iter(range(99)).__next__)
    for number, loss in ((1, 0.123456), (2, 1)):
        progress.report(Report(step=number, steps=4, metrics={"loss": loss}))
    progress.close()
    _, first, second, _ = stream.getvalue().rstrip("\n").split("\r")
    assert len(first) == len(second)
    assert second.endswith("loss 1     ")


TERMINAL = """
from explorer.training.loop.progress import LineProgress, Report
progress = LineProgress()
for step in range(1, 4):
    metrics = {f"metric_{number}": 0.5 for number in range(9)}
    progress.report(Report(step=step, steps=3, metrics=metrics))
progress.close()
"""


def test_a_line_is_as_long_as_the_terminal_is_wide():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(
        [sys.executable, "-c", TERMINAL], stderr=theirs, env=environment, check=True
    )
    os.close(theirs)
    lines = [line for line in os.read(ours, 10_000).decode().splitlines() if line]
    os.close(ours)
    assert {len(line) for line in lines} == {59}
    assert "step 3/3  metric_0 0.5" in lines[-1]
