"""How far a file is written or read: a bar in a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["progress_bar", "reading_bar"]


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


@contextmanager
def reading_bar() -> Iterator[Callable[[int, int], object] | None]:
    """Give a function that takes the numbers that were read, and those of all tensors.

    The bar comes after a second, so that short passes have none, and is removed at the end.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(
        unit=" numbers", unit_scale=True, leave=False, file=sys.stderr, delay=1
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
