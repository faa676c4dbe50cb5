"""What tests of several folders need around them."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Have Ctrl-C heard, by commands too, even where who began the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
