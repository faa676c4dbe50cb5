"""Ctrl-C and SIGTERM as a request to stop where it is safe, as between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_signals"]

# the list of the outermost call, while there is one
_received: list[str] | None = None


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Yield a list that names the stop signals received so far.

    A nested call yields the list of the outermost: a signal that arrives while a run is set
    up is seen by its loop. A second signal of one kind has its usual effect. The outermost
    call restores the handlers; ignored signals stay ignored, and in other threads than the
    main one nothing is received.
    """
    global _received
    if threading.current_thread() is not threading.main_thread():
        yield []
    elif _received is not None:
        yield _received
    else:
        _received = []
        try:
            with _handlers(_received):
                yield _received
        finally:
            _received = None


@contextmanager
def _handlers(received: list[str]) -> Iterator[None]:
    """Append the names of the signals that arrive to a list."""
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
