"""Ctrl-C and SIGTERM as a wish that a loop grants between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_signals"]


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Yield a list that names the signal to stop, once one has come.

    A second signal of the kind does what it did before. Handlers are put back at the end;
    what was ignored stays ignored, and only the main thread is asked at all.
    """
    received: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        # None: a handler that is not Python's and could not be put back
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number).name)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
