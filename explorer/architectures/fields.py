"""Typed, bounded access to a config's fields; each wrong one is told in one line."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeVar

from explorer.errors import InputError, printable

__all__ = ["Fields"]

_T = TypeVar("_T", bound=str)
_LARGEST = 2**31 - 1
_MOST_LAYERS = 10_000
_REQUIRED: Any = object()


class Fields:
    """A config's fields by name, with the place to name in errors.

    Every method takes the names that a field goes by (the first is told in errors) and a
    default; without a default the field is needed. A null counts as absent.

    >>> Fields({"n_embd": 64}, "config.json").size("hidden_size", "n_embd")
    64
    """

    def __init__(self, content: Mapping[str, Any], place: str = "config", prefix: str = ""):
        self.content, self.place, self.prefix = content, place, prefix

    def has(self, *names: str) -> bool:
        """Say whether a field is there and not null."""
        return any(self.content.get(name) is not None for name in names)

    def size(self, *names: str, default: Any = _REQUIRED, most: int = _LARGEST) -> int:
        """Return a positive int."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "an int")
        if not 1 <= value <= most:
            raise self.wrong(name, f"1 to {most:,}")
        return value

    def layers(self, *names: str) -> int:
        """Return a number of layers."""
        return self.size(*names, most=_MOST_LAYERS)

    def index(self, *names: str, default: Any = _REQUIRED) -> int:
        """Return an int from 0."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "an int")
        if not 0 <= value <= _LARGEST:
            raise self.wrong(name, f"0 to {_LARGEST:,}")
        return value

    def number(self, *names: str, default: Any = _REQUIRED, positive: bool = True) -> float:
        """Return a finite number, above 0 unless said otherwise."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(name, "a number")
        if not _is_finite(value) or (positive and value <= 0):
            raise self.wrong(name, "a number above 0" if positive else "a finite number")
        return float(value)

    def flag(self, *names: str, default: Any = _REQUIRED) -> bool:
        """Return true or false."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def choice(
        self, allowed: Mapping[str, _T], *names: str, default: Any = _REQUIRED
    ) -> _T:
        """Return what an allowed word stands for."""
        name, value = self._get(names, default)
        if value is None:
            value = default
        if not isinstance(value, str) or value not in allowed:
            raise self.wrong(name, "one of " + ", ".join(sorted(allowed)))
        return allowed[value]

    def numbers(self, *names: str, default: Any = _REQUIRED) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if not isinstance(value, list | tuple) or len(value) > _MOST_LAYERS:
            raise self.wrong(name, "a list of numbers")
        for each in value:
            if (
                not isinstance(each, int | float)
                or isinstance(each, bool)
                or not _is_finite(each)
            ):
                raise self.wrong(name, "a list of numbers")
        return tuple(map(float, value))

    def words(self, allowed: tuple[str, ...], count: int, *names: str) -> list[str] | None:
        """Return a list of `count` allowed words, one a layer; None where it is absent."""
        name, value = self._get(names, None)
        if value is None:
            return None
        fits = isinstance(value, list | tuple) and all(v in allowed for v in value)
        if not fits or len(value) != count:
            raise self.wrong(name, f"{count} of {', '.join(allowed)}, one a layer")
        return list(value)

    def inner(self, *names: str) -> "Fields | None":
        """Return the fields of an object inside; None where it is absent."""
        name, value = self._get(names, None)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(name, "an object")
        return Fields(value, self.place, f"{self.prefix}{name}.")

    def divides(self, name: str, part: int, of: str, whole: int) -> int:
        """Return whole / part; both are told where they do not divide."""
        if whole % part:
            raise self.error(
                found=f"{of} {whole} is no multiple of {name} {part}",
                expected=f"{name} that divides {of}",
            )
        return whole // part

    def wrong(self, name: str, allowed: str, cure: str = "") -> InputError:
        """Return the error of a field: its name, what was found, what is allowed."""
        value = printable(_shown(self.content.get(name)), 60)
        found = f"{self.prefix}{name} is {value}"
        return self.error(found=found, expected=allowed, cure=cure)

    def error(self, *, found: str, expected: str = "", cure: str = "") -> InputError:
        """Return an error at this config."""
        return InputError(self.place, found=found, expected=expected, cure=cure)

    def _get(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        for name in names:
            if self.content.get(name) is not None:
                return name, self.content[name]
        if default is _REQUIRED:
            kind = self.content.get("model_type")
            of = f" of a {printable(kind, 40)} model" if isinstance(kind, str) else ""
            raise self.error(
                found=f"{self.prefix}{names[0]} is missing", expected=f"it{of}"
            )
        return names[0], None


def _is_finite(value: int | float) -> bool:
    # an int may be too large for a float
    return abs(value) < 1e300 if isinstance(value, int) else isfinite(value)


def _shown(value: Any) -> str:
    # Python writes no int of more than 4,300 digits
    is_long = isinstance(value, int) and value.bit_length() > 1000
    return f"an int of {value.bit_length()} bits" if is_long else repr(value)
