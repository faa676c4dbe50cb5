"""Typed, bounded access to a config's fields; an invalid field raises a one-line error."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple, TypeVar

from explorer.errors import InputError, printable

__all__ = ["ConfigFields", "Remarks"]

_T = TypeVar("_T", bound=str)
_LARGEST = 2**31 - 1
_MAX_LAYERS = 10_000
_REQUIRED: Any = object()


class Remarks(NamedTuple):
    """What reading a config found: settings that are only counted, and assumptions."""

    unbuilt: list[str]
    assumed: list[str]


class ConfigFields:
    """A config's fields by name, and the place that errors report.

    Every method takes the names that a field may have (errors report the first) and a
    default; without a default the field is required. A null counts as absent.

    >>> ConfigFields({"n_embd": 64}, "config.json").size("hidden_size", "n_embd")
    64
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        place: str = "config",
        prefix: str = "",
        remarks: "Remarks | None" = None,
    ):
        self.content, self.place, self.prefix = content, place, prefix
        self.remarks = Remarks([], []) if remarks is None else remarks

    def inner(self, content: Mapping[str, Any], prefix: str = "") -> "ConfigFields":
        """Return fields of other content of the same config, with the same remarks."""
        return ConfigFields(content, self.place, prefix, self.remarks)

    def not_built(self, name: str, supported: str) -> None:
        """Record a setting that changes no count and that the Flax modules lack."""
        self.remarks.unbuilt.append(f"{self._found(name)} (supported: {supported})")

    def assume(self, sentence: str) -> None:
        """Record what the count takes for granted."""
        self.remarks.assumed.append(sentence)

    def has(self, *names: str) -> bool:
        """Return whether a field is present and not null."""
        return any(self.content.get(name) is not None for name in names)

    def size(self, *names: str, default: Any = _REQUIRED, most: int = _LARGEST) -> int:
        """Return a positive int."""
        return self._int(names, default, 1, most)

    def shared_size(self, *names: str, most: int = _LARGEST) -> int:
        """Return a positive int; under several of its names it must be one value."""
        value = self.size(*names, most=most)
        for other in filter(self.has, names):
            if self.content[other] != value:
                name = next(filter(self.has, names))
                raise self.error(
                    found=f"{self._found(name)} and {self._found(other)}",
                    expected="one value: they are two names of one field",
                )
        return value

    def layers(self, *names: str) -> int:
        """Return a number of layers."""
        return self.shared_size(*names, most=_MAX_LAYERS)

    def index(self, *names: str, default: Any = _REQUIRED) -> int:
        """Return an int that is not negative."""
        return self._int(names, default, 0, _LARGEST)

    def number(self, *names: str, default: Any = _REQUIRED, positive: bool = True) -> float:
        """Return a finite number, above 0 unless `positive` is false."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if not _is_number(value):
            raise self.invalid(name, "a number")
        if not _is_finite(value) or (positive and value <= 0):
            raise self.invalid(name, "a number above 0" if positive else "a finite number")
        return float(value)

    def flag(self, *names: str, default: Any = _REQUIRED) -> bool:
        """Return true or false."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.invalid(name, "true or false")
        return value

    def choice(
        self, allowed: Mapping[str, _T], *names: str, default: Any = _REQUIRED
    ) -> _T:
        """Return the value that `allowed` maps a word to."""
        name, value = self._get(names, default)
        if value is None:
            value = default
        if not isinstance(value, str) or value not in allowed:
            raise self.invalid(name, "one of " + ", ".join(sorted(allowed)))
        return allowed[value]

    def numbers(self, *names: str, default: Any = _REQUIRED) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        name, value = self._get(names, default)
        if value is None:
            return default
        if (
            not isinstance(value, list | tuple)
            or len(value) > _MAX_LAYERS
            or not all(_is_number(each) and _is_finite(each) for each in value)
        ):
            raise self.invalid(name, "a list of numbers")
        return tuple(map(float, value))

    def words(self, allowed: tuple[str, ...], count: int, *names: str) -> list[str] | None:
        """Return a list of `count` allowed words, one per layer; None if absent."""
        name, value = self._get(names, None)
        if value is None:
            return None
        fits = isinstance(value, list | tuple) and all(v in allowed for v in value)
        if not fits or len(value) != count:
            raise self.invalid(name, f"{count} of {', '.join(allowed)}, one per layer")
        return list(value)

    def nested(self, *names: str) -> "ConfigFields | None":
        """Return the fields of a nested object; None if absent."""
        name, value = self._get(names, None)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.invalid(name, "an object")
        return self.inner(value, f"{self.prefix}{name}.")

    def divides(self, name: str, part: int, of: str, total: int) -> int:
        """Return total / part; raise an error that reports both if it is not an integer."""
        if total % part:
            raise self.error(
                found=f"{of} {total} is not a multiple of {name} {part}",
                expected=f"{name} that divides {of}",
            )
        return total // part

    def invalid(self, name: str, allowed: str, cure: str = "") -> InputError:
        """Return the error for a field: its name, its value, what is allowed."""
        return self.error(found=self._found(name), expected=allowed, cure=cure)

    def _found(self, name: str) -> str:
        return f"{self.prefix}{name} is {printable(_shown(self.content.get(name)), 60)}"

    def error(self, *, found: str, expected: str = "", cure: str = "") -> InputError:
        """Return an error at this config."""
        return InputError(self.place, found=found, expected=expected, cure=cure)

    def _int(self, names: tuple[str, ...], default: Any, least: int, most: int) -> int:
        name, value = self._get(names, default)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.invalid(name, "an int")
        if not least <= value <= most:
            raise self.invalid(name, f"{least} to {most:,}")
        return value

    def _get(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        for name in names:
            if self.content.get(name) is not None:
                return name, self.content[name]
        if default is _REQUIRED:
            kind = self.content.get("model_type")
            raise self.error(
                found=f"{self.prefix}{names[0]} is missing",
                expected=f"a complete {printable(kind, 40)} config"
                if isinstance(kind, str)
                else "",
            )
        return names[0], None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: int | float) -> bool:
    # an int may be too large for a float
    return abs(value) < 1e300 if isinstance(value, int) else isfinite(value)


def _shown(value: Any) -> str:
    # Python refuses to print ints of more than 4,300 digits
    is_long = isinstance(value, int) and value.bit_length() > 1000
    return f"an int of {value.bit_length()} bits" if is_long else repr(value)
