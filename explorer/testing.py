"""Assertions for users' own tests: budgets and locks of a model's structure."""

import os
from typing import Any

from explorer.analyses.comparison import Comparison, compare
from explorer.analyses.lock import parse_lock
from explorer.api import explore
from explorer.errors import FormatError, MismatchError, TargetError
from explorer.inventory.inventory import Inventory
from explorer.storage.local import read_whole

__all__ = ["assert_matches_lock", "assert_parameter_count", "compare_with_lock"]

_MAX_LOCK = 100_000_000  # 10^6 tensors


def assert_parameter_count(
    x: Any,
    *,
    parameters: int | None = None,
    weights: int | None = None,
    biases: int | None = None,
    tensors: int | None = None,
) -> None:
    """Assert the exact counts of anything `explorer.explore` takes.

    Raises:
        MismatchError: an AssertionError that names each figure, found and expected.

    >>> assert_parameter_count({"kernel": 1.0, "bias": 2.0}, parameters=2, biases=1)
    """
    inventory = explore(x)
    wrong = [
        f"{word}: found {found:,}, expected {expected:,} ({found - expected:+,})"
        for word, found, expected in (
            ("parameters", inventory.num_parameters, parameters),
            ("weights", inventory.num_weights, weights),
            ("biases", inventory.num_biases, biases),
            ("tensors", inventory.num_tensors, tensors),
        )
        if expected is not None and found != expected
    ]
    if wrong:
        raise MismatchError("; ".join(wrong))


def assert_matches_lock(x: Any, path: str | os.PathLike) -> None:
    """Assert that paths, shapes and number formats are those of a lock file.

    Write the lock with `explorer lock TARGET > params.lock` and keep it in git.

    Raises:
        MismatchError: an AssertionError that lists the exact differences.
        FormatError: the file is no lock.
    """
    from explorer.document.text import text_of
    from explorer.views.comparison import comparison_document

    comparison = compare_with_lock(explore(x), os.fspath(path))
    if not comparison.identical:
        differences = text_of(comparison_document(comparison), width=None)
        raise MismatchError(f"{os.fspath(path)}: differs\n{differences}")


def compare_with_lock(inventory: Inventory, path: str) -> Comparison:
    """Return what differs from a lock file to an inventory."""
    try:
        text = read_whole(path, _MAX_LOCK).decode()
    except TargetError as error:
        cure = "write it with `explorer lock TARGET`"
        raise TargetError(path, found=error.found, cure=cure) from None
    except UnicodeDecodeError:
        raise FormatError(path, found="is no UTF-8", expected="a lock file") from None
    return compare(parse_lock(text, path), inventory)
