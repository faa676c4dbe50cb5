"""What ends a browser from outside."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress

__all__ = ["TERMINATED", "on_termination"]

TERMINATED = 143  # the code with which it ends after SIGTERM


def on_termination(end: Callable[[], None]) -> None:
    """Call a function in the running event loop when SIGTERM arrives."""
    with suppress(NotImplementedError):  # of systems that do not have it
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
