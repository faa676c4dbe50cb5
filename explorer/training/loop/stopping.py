"""Ctrl-C and SIGTERM as a request that is served where it is safe, as between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_signals"]

# what the main thread has heard, while it listens
_heard: list[str] | None = None


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Yield a list that names the signal to stop, once one has come.

    Inside another `stop_signals` the list is that of the outer one: a signal that came while
    a run was set up is heard by its loop. A second signal of the kind does what it did before.
    Handlers are put back at the end of the outermost; what was ignored stays ignored, and only
    the main thread is asked at all.
    """
    global _heard
    if threading.current_thread() is not threading.main_thread():
        yield []
    elif _heard is not None:
        yield _heard
    else:
        _heard = []
        try:
            with _handlers(_heard):
                yield _heard
        finally:
            _heard = None


@contextmanager
def _handlers(received: list[str]) -> Iterator[None]:
    """Have the names of signals added to a list."""
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
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
