"""SIGTERM ends a command as Ctrl-C does: what is half written is deleted before it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Terminated", "terminated_in_order"]


class Terminated(KeyboardInterrupt):
    """SIGTERM came. No `except Exception` on the way stops it, as with Ctrl-C."""


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM arrives, unless somebody handles or ignores it."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
