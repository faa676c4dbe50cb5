"""Assertions for users' own tests: counts, and locks of a model's structure or values."""

import os
from typing import TYPE_CHECKING, Any

from explorer.analyses.comparison import Comparison, compare
from explorer.analyses.lock import LOCK_HEADER, parse_lock
from explorer.api.structure import explore
from explorer.errors import (
    FormatError,
    MismatchError,
    TargetError,
    check_number,
    check_type,
)
from explorer.storage.local import read_whole
from explorer.targets import as_path

if TYPE_CHECKING:
    from explorer.values.compare_digests import DigestComparison

__all__ = [
    "assert_matches_lock",
    "assert_parameter_count",
    "compare_with_lock",
    "differences_text",
]

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
    """Assert that a target has the paths, shapes and dtypes of a lock file, or its values.

    Write the lock with `explorer lock TARGET > params.lock` and keep it in git. With
    `--values` it has a hash of every tensor's content, and one changed bit is a difference.

    Args:
        target: as for `explorer.explore`.
        path: the lock file.

    Raises:
        MismatchError: an AssertionError that lists the exact differences.
        FormatError: the file is not a lock.
    """
    comparison = compare_with_lock(target, path)
    if not comparison.identical:
        raise MismatchError(f"{as_path(path)}: differs\n{differences_text(comparison)}")


def differences_text(comparison: "Comparison | DigestComparison") -> str:
    """Return one line for each difference from a lock, however long, and their counts."""
    from explorer.document.text import text_of

    if not isinstance(comparison, Comparison):
        from explorer.values.compare_digests import DigestComparison

        made = "what compare_with_lock returned"
        check_type("comparison", comparison, DigestComparison, made)
    if isinstance(comparison, Comparison):
        from explorer.views.comparison import comparison_document as document
    else:
        from explorer.views.diff import digest_changes_document as document
    return text_of(document(comparison), width=None)  # pyright: ignore[reportArgumentType]


def compare_with_lock(
    target: Any, path: str | os.PathLike
) -> "Comparison | DigestComparison":
    """Return the differences from a lock file to a target; arguments as of the assertion."""
    place = as_path(path)
    try:
        text = read_whole(place, _MAX_LOCK).decode()
    except TargetError as error:
        cure = "write it with `explorer lock TARGET`"
        raise TargetError(place, found=error.found, cure=cure) from None
    except UnicodeDecodeError:
        raise FormatError(place, found="is not UTF-8", expected="a lock file") from None
    if not text.startswith(LOCK_HEADER):  # hashing needs NumPy, structure does not
        from explorer.values.digest import is_value_lock, read_digests

        if is_value_lock(text):
            from explorer.api.values import digest
            from explorer.values.compare_digests import compare_digests

            locked = read_digests(place, text)
            return compare_digests(locked, digest(target, algorithm=locked.algorithm))
    return compare(parse_lock(text, place), explore(target))
