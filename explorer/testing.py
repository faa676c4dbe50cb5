"""Assertions for users' own tests: counts and locks of a model's structure."""

import os
from typing import Any

from explorer.analyses.comparison import Comparison, compare
from explorer.analyses.lock import parse_lock
from explorer.api.structure import explore
from explorer.errors import FormatError, MismatchError, TargetError, check_number
from explorer.storage.local import read_whole
from explorer.targets import as_path

__all__ = ["assert_matches_lock", "assert_parameter_count", "compare_with_lock"]

_MAX_LOCK = 100_000_000  # 10^6 tensors


def assert_parameter_count(
    target: Any,
    *,
    parameters: int | None = None,
    weights: int | None = None,
    biases: int | None = None,
    tensors: int | None = None,
) -> None:
    """Assert the exact counts of a target.

    Args:
        target: as for `explorer.explore`.
        parameters, weights, biases, tensors: the expected counts; None is not checked.

    Raises:
        MismatchError: an AssertionError that names each figure, found and expected.

    >>> assert_parameter_count({"kernel": 1.0, "bias": 2.0}, parameters=2, biases=1)
    >>> assert_parameter_count({"kernel": 1.0}, parameters=2)
    Traceback (most recent call last):
    explorer.errors.MismatchError: parameters: found 1, expected 2 (-1)
    """
    for word, expected in (
        ("parameters", parameters),
        ("weights", weights),
        ("biases", biases),
        ("tensors", tensors),
    ):
        if expected is not None:
            check_number(word, expected)
    inventory = explore(target)
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


def assert_matches_lock(target: Any, path: str | os.PathLike) -> None:
    """Assert that a target has the paths, shapes and dtypes of a lock file.

    Write the lock with `explorer lock TARGET > params.lock` and keep it in git.

    Args:
        target: as for `explorer.explore`.
        path: the lock file.

    Raises:
        MismatchError: an AssertionError that lists the exact differences.
        FormatError: the file is not a lock.
    """
    from explorer.document.text import text_of
    from explorer.views.comparison import comparison_document

    comparison = compare_with_lock(target, path)
    if not comparison.identical:
        differences = text_of(comparison_document(comparison), width=None)
        raise MismatchError(f"{as_path(path)}: differs\n{differences}")


def compare_with_lock(target: Any, path: str | os.PathLike) -> Comparison:
    """Return the differences from a lock file to a target; arguments as of the assertion."""
    place = as_path(path)
    try:
        text = read_whole(place, _MAX_LOCK).decode()
    except TargetError as error:
        cure = "write it with `explorer lock TARGET`"
        raise TargetError(place, found=error.found, cure=cure) from None
    except UnicodeDecodeError:
        raise FormatError(place, found="is not UTF-8", expected="a lock file") from None
    return compare(parse_lock(text, place), explore(target))
