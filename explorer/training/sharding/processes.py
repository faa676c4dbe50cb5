"""Results and errors of one process, shared with all processes.

All processes make these calls, in the same order, from their main threads. Data is exchanged
over the devices, as in any collective; a single process exchanges nothing.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import msgspec
import numpy as np
from jax.experimental import multihost_utils

from explorer import errors
from explorer.errors import InputError, printable

__all__ = ["bytes_of_all", "on_every", "on_first", "together"]

_Result = TypeVar("_Result")


class _ProcessOutcome(msgspec.Struct, frozen=True):
    """The outcome of a call: its result as JSON, or the class and the text of its error."""

    value: Any = None
    error: str = ""
    words: tuple[str, ...] = ()


def on_first(act: Callable[[], _Result], kind: Any = None) -> _Result:
    """Call a function on the first process alone, and return its result on all.

    Args:
        act: its result is of JSON's types, or a `msgspec.Struct` of them.
        kind: the type of the result; None if there is none.

    Raises:
        InputError: the function raised it; it is raised on all processes.
    """
    if jax.process_count() == 1:
        return act()
    is_first = jax.process_index() == 0
    return msgspec.convert(_exchange(act if is_first else _nothing)[0].value, kind)


def on_every(act: Callable[[], _Result], kind: Any) -> list[_Result]:
    """Call a function on every process, and return the results of all, in their order.

    Args:
        act: its result is of JSON's types, or `msgspec.Struct`s.
        kind: the type of a result.

    Raises:
        InputError: it failed on one of them; an error is raised on all.
    """
    if jax.process_count() == 1:
        return [act()]
    return [msgspec.convert(heard.value, kind) for heard in _exchange(act)]


def together(act: Callable[[], _Result]) -> _Result:
    """Call a function on every process, and return its result if it succeeds on all.

    Raises:
        InputError: it failed on one of them; an error is raised on all.
    """
    if jax.process_count() == 1:
        return act()
    results: list[_Result] = []
    _exchange(lambda: results.append(act()))
    return results[0]


def bytes_of_all(document: bytes) -> list[bytes]:
    """Return the bytes that every process gives, in their order: any number of each."""
    sizes = multihost_utils.process_allgather(np.int32(len(document)))
    # of few lengths, as each is compiled for
    padded = np.zeros(1 << int(max(sizes)).bit_length(), np.uint8)
    padded[: len(document)] = np.frombuffer(document, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def _nothing() -> None:
    return None


def _exchange(act: Callable[[], Any]) -> list[_ProcessOutcome]:
    """Return the outcome of a call on every process, or raise the error of one."""
    error = None
    try:
        outcome = _ProcessOutcome(act())
    except BaseException as raised:  # of any kind: the others wait to learn of it
        outcome, error = _outcome_of(raised), raised
    heard = [_decode(document) for document in bytes_of_all(msgspec.json.encode(outcome))]
    if error is not None:
        raise error
    for other in heard:
        if other.error:
            place, found, expected, cure = other.words
            kind = getattr(errors, other.error)
            raise kind(place, found=found, expected=expected, cure=cure)
    return heard


def _outcome_of(raised: BaseException) -> _ProcessOutcome:
    if isinstance(raised, InputError):
        words = (raised.found, raised.expected, raised.cure)
        parts = (printable(raised.place, 300), *(printable(word, 1000) for word in words))
        return _ProcessOutcome(error=type(raised).__name__, words=parts)
    found = f"failed with {type(raised).__name__}: {printable(raised)}"
    place = f"process {jax.process_index()}"
    return _ProcessOutcome(error="InputError", words=(place, found, "", "see what it says"))


_decode = msgspec.json.Decoder(_ProcessOutcome).decode
