"""How far a file is written: a bar in a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["progress_bar"]


@contextmanager
def progress_bar() -> Iterator[
    tuple[Callable[[int], Any] | None, Callable[[int], Any] | None]
]:
    """Give two functions: one takes the bytes there will be, the other those that were written."""
    if not sys.stderr.isatty():
        yield None, None
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, leave=False, file=sys.stderr) as bar:
        yield bar.reset, bar.update
