"""JSON files that come from somewhere else: bounded, and refused in one line."""

from typing import Any, NoReturn

import msgspec

from explorer.errors import FormatError
from explorer.storage.local import LOCAL
from explorer.storage.store import Store

__all__ = ["NOT_JSON", "read_json", "refuse_json"]

# what msgspec raises for text that is not JSON, or is not of the type that was asked for
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_json(
    path: str,
    most: int,
    kind: Any = Any,
    *,
    found: str = "is not JSON",
    expected: str = "",
    cure: str = "correct or remove it",
    store: Store = LOCAL,
) -> Any:
    """Return the content of a JSON file.

    Args:
        path: of a regular file, or a link to one.
        most: the bytes that it may have.
        kind: the type that its content must be of, as msgspec takes it.
        found, expected, cure: what the error says of a file that is not so.
        store: where it is.

    Raises:
        TargetError: it is missing, unreadable or not a regular file.
        FormatError: it is larger, not JSON, nested too deeply, or of another type.
    """
    raw = store.read_whole(path, most)
    try:
        return msgspec.json.decode(raw, type=kind)
    except NOT_JSON as error:
        refuse_json(path, error, found=found, expected=expected, cure=cure)


def refuse_json(
    path: object, error: Exception, *, found: str, expected: str = "", cure: str = ""
) -> NoReturn:
    """Raise the error for a file that `NOT_JSON` was raised for."""
    why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    raise FormatError(
        path, found=f"{found} ({why})", expected=expected, cure=cure
    ) from None
