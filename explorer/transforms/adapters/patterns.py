"""Patterns of module names in adapter_config.json, found in bounded time.

peft takes the first key of a pattern that ends a module's name, as a regular expression. Most keys
are names. Of others, those are refused whose search could take very long: what is written by
somebody else must not decide how long a program runs.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import factorial, inf
from typing import Any, NamedTuple

from explorer.errors import InputError, printable

__all__ = ["ModulePatterns", "check_patterns"]

_PLAIN = re.compile(r"[\w.-]+")
_MOST_KEYS, _LONGEST = 100, 1000  # regular expressions, and characters of one
_STEPS = 50_000_000  # of all searches together, by the estimate below
_ONE = r"(?:\\[dDwWsS]|\\[^\w]|\[(?:\\.|[^\]\\])+\]|[\w.\-/, ])"
# groups, alternatives, quantifiers of one character; nothing that looks back or ahead
_TOKEN = re.compile(
    r"(?P<open>\((?:\?:)?(?!\?))|(?P<close>\)\??)|(?P<either>\|)|[\^$]"
    rf"|(?P<many>{_ONE}(?:[*+]\??|\{{\d*,\d*\}}))|{_ONE}(?:(?P<maybe>\?)|\{{\d{{1,3}}\}})?"
)


class ModulePatterns(NamedTuple):
    """The values of a pattern: those of names, and those of regular expressions, with their order.

    >>> patterns = ModulePatterns.of({"q_proj": 4, r"layers\\.[01]\\..*": 2})
    >>> patterns.value("layers.7.q_proj", 8), patterns.value("layers.1.v_proj", 8)
    (4, 2)
    """

    names: dict[str, tuple[int, Any]]
    lengths: tuple[int, ...]
    expressions: tuple[tuple[int, re.Pattern[str], Any], ...]

    @classmethod
    def of(cls, pattern: Mapping[str, Any]) -> "ModulePatterns":
        """Return the values of a pattern; `check_patterns` says whether they are found in time."""
        names: dict[str, tuple[int, Any]] = {}
        expressions = []
        for place, (key, value) in enumerate(pattern.items()):
            if _PLAIN.fullmatch(key):
                names[key] = place, value
            elif _steps(key, 1) < inf:
                expressions.append((place, re.compile(rf"(.*\.)?({key})$"), value))
        return cls(names, tuple({len(name) for name in names}), tuple(expressions))

    def value(self, module: str, default: Any) -> Any:
        """Return the value of the first key that ends a module's name, as peft finds it."""
        endings = (
            module[-length:]
            for length in self.lengths
            if length == len(module) or module[-length - 1 : -length] == "."
        )
        found = (self.names[end] for end in endings if end in self.names)
        best = min(found, key=lambda each: each[0], default=None)
        for place, compiled, value in self.expressions:
            if best is not None and best[0] < place:
                break
            if compiled.match(module):
                return value
        return default if best is None else best[1]


def check_patterns(
    place: str, patterns: Mapping[str, Mapping[str, Any]], modules: Iterable[str]
) -> None:
    """Refuse regular expressions whose search may take very long.

    Args:
        place: the file that they are in.
        patterns: by the name of the setting, keys and their values.
        modules: the names that are searched.

    Raises:
        InputError: there is one; it is named.

    >>> check_patterns("a.json", {"rank_pattern": {"(a+)+": 4}}, ["aaa"])
    Traceback (most recent call last):
    explorer.errors.InputError: a.json: rank_pattern has (a+)+, whose search may take very long; \
expected names of modules; spell the modules out, or merge it with peft
    """
    lengths = Counter(map(len, modules))
    for setting, pattern in patterns.items():
        left = _STEPS
        keys = [key for key in pattern if not _PLAIN.fullmatch(key)]
        for key in keys[:_MOST_KEYS]:
            left -= sum(_steps(key, size) * count for size, count in lengths.items())
            if left < 0:
                raise _too_long(place, setting, printable(key, 60))
        if len(keys) > _MOST_KEYS:
            raise _too_long(place, setting, f"{len(keys):,} regular expressions")


def _too_long(place: str, setting: str, shown: str) -> InputError:
    return InputError(
        place,
        found=f"{setting} has {shown}, whose search may take very long",
        expected="names of modules",
        cure="spell the modules out, or merge it with peft",
    )


def _steps(key: str, length: int) -> float:
    """Return how many steps a search in a name takes at most, about.

    A name of n characters can be shared out among k quantifiers in n ** k / k! ways.
    """
    if len(key) > _LONGEST:
        return inf
    many, ways, at = 1, 1.0, 0  # one that stands before each key
    branches = [1]
    while at < len(key):
        token = _TOKEN.match(key, at)
        if token is None:
            return inf
        at = token.end()
        many += token["many"] is not None
        branches[-1] += token["either"] is not None
        if token["open"]:
            branches.append(1)
        if token["close"]:
            if len(branches) == 1:
                return inf
            ways *= branches.pop() + (token["close"] == ")?")
        ways *= 2 if token["maybe"] else 1
    if len(branches) > 1 or many > 20 or not _compiles(key):
        return inf
    return float(length) ** many / factorial(many) * ways * branches[0] * len(key)


def _compiles(key: str) -> bool:
    try:
        re.compile(key)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
