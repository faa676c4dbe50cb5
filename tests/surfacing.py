"""Calls with wrong values: what of the inside surfaces instead of one clear line."""

from collections.abc import Callable, Mapping
from typing import Any

from explorer.errors import ExplorerError, MismatchError

__all__ = ["raised_inside"]


def raised_inside(
    call: Callable[[Any], object], values: Mapping[str, Callable[[], Any]]
) -> list[tuple[str, str, str]]:
    """Call with each value; return those that end in another error, or in several lines."""
    raw = []
    for word, make in values.items():
        value = make()
        try:
            call(value)
        except ExplorerError as error:
            if "\n" in str(error) and not isinstance(error, MismatchError):
                raw.append((word, "several lines", str(error)))
        except Exception as error:
            raw.append((word, type(error).__name__, str(error)[:200]))
    return raw
