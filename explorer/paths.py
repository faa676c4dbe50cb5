"""Names of tensors: keys as sources spell them, paths as explorer shows them, globs.

A *key* is exactly what the source has: a dotted string in a file ("h.0.attn.c_attn.weight"),
a tuple of names in a tree. A *path* is always a tuple. Keys are split on demand: splitting
100,000 of them up front would take as long as reading them.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "Glob",
    "Key",
    "matches",
    "name_of",
    "name_set",
    "path_of",
    "runs_of",
    "template_of",
    "templates_of",
    "templates_of_text",
    "unboxed",
]

Key = str | tuple[str, ...]

_BOXES = ("value", "raw_value")
# an entry of a path of JAX: ['name'] and [0] of containers, .name of a field
_ENTRY = re.compile(r"\['([^'\]]*)'\]|(?:\[|\.|^)(\w+)\]?")
_KEYSTR = re.compile(
    r"\w*(\['[^'\]]*'\]|\[[0-9]+\]|\.\w+)*(\['[^'\]]*'\]|\[[0-9]+\])(\.\w+)*"
)
_DIGITS = bytes.maketrans(b"0123456789", b"0000000000")


def path_of(key: Key) -> tuple[str, ...]:
    """Return a key as a tuple of names.

    >>> path_of("encoder.layer.0.bias"), path_of(("params", "Dense_0"))
    (('encoder', 'layer', '0', 'bias'), ('params', 'Dense_0'))
    >>> path_of("[0].mu['Dense_0']['kernel']")    # as jax.tree_util.keystr writes it
    ('0', 'mu', 'Dense_0', 'kernel')
    >>> path_of("mlp/~/linear_0.w")    # a module of Haiku and its parameter
    ('mlp', '~', 'linear_0', 'w')
    """
    if isinstance(key, tuple):
        return key
    if "/" in key or "]" in key:
        return _path_of_other(key)
    return tuple(key.split("."))


def _path_of_other(key: str) -> tuple[str, ...]:
    """Return the names of a key that has slashes or brackets."""
    if "]" in key and _KEYSTR.fullmatch(key):
        return tuple(quoted or plain for quoted, plain in _ENTRY.findall(key))
    if "/" not in key:
        return tuple(key.split("."))
    *around, last = key.split("/")
    module, _, leaf = last.rpartition(".")
    return (*around, module, leaf) if module and leaf.isidentifier() else (*around, last)


def name_of(key: Key) -> str:
    """Return a key as one string of names joined by "/".

    >>> name_of("encoder.layer.0.bias")
    'encoder/layer/0/bias'
    """
    if isinstance(key, tuple):
        return "/".join(key)
    if "/" in key or "]" in key:
        return "/".join(_path_of_other(key))
    return key.replace(".", "/")


def unboxed(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path without the name of an NNX Variable's one array, which a file keeps.

    >>> unboxed(("linear", "kernel", "value")), unboxed(("linear", "kernel"))
    (('linear', 'kernel'), ('linear', 'kernel'))
    """
    return path[:-1] if len(path) > 1 and path[-1] in _BOXES else path


def name_set(text: str) -> frozenset[str]:
    """Return the names in a text; tables of names are written so.

    >>> sorted(name_set("weight bias"))
    ['bias', 'weight']
    """
    return frozenset(text.split())


def template_of(key: Key) -> bytes:
    """Return a key with every digit as "0"; tensors with one template have one role.

    >>> template_of("layers.17.mlp.up_proj.weight")
    b'layers.00.mlp.up_proj.weight'
    """
    text = "/".join(key) if isinstance(key, tuple) else key
    return text.encode("utf-8", "surrogatepass").translate(_DIGITS)


def templates_of(keys: list[Key]) -> list[bytes]:
    """Return the template of every key, with a fast path for strings."""
    try:
        templates = templates_of_text("\n".join(keys).encode())  # pyright: ignore
    except (TypeError, UnicodeEncodeError):
        templates = []
    # a key of two lines has two
    return templates if len(templates) == len(keys) else list(map(template_of, keys))


def templates_of_text(text: bytes) -> list[bytes]:
    """Return the template of every key of a text with a key on each line.

    >>> templates_of_text(b"h.0.bias\\nh.11.bias")
    [b'h.0.bias', b'h.00.bias']
    """
    return text.translate(_DIGITS).split(b"\n")


def runs_of(numbers: Iterable[int]) -> str:
    """Return numbers as runs; a long list keeps its ends.

    >>> runs_of([0, 1, 2, 5])
    '0-2,5'
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(low) if low == high else f"{low}-{high}" for low, high in runs]
    return ",".join(words if len(words) <= 6 else [*words[:3], "…", words[-1]])


class Glob:
    """A compiled glob: `*` matches within one name, `**` across names, `[0-60]` a range.

    Collapsed rows print the same ranges, so a printed row selects its tensors.

    >>> Glob("**/attention/**").matches("layer/0/attention/query/bias")
    True
    >>> Glob("layers/[0-60]/*").matches("layers/61/norm")
    False
    """

    def __init__(self, glob: str):
        pattern, at = [], 0
        while at < len(glob):
            for token, regex in _TOKENS:
                found = token.match(glob, at)
                if found:
                    pattern.append(regex)
                    at = found.end()
                    break
            else:
                pattern.append(re.escape(glob[at]))
                at += 1
        self._regex = re.compile("".join(pattern), re.DOTALL)
        self._ranges = [_numbers(text) for text in _RANGE.findall(glob)]

    def matches(self, name: str) -> bool:
        """Return whether the full name matches."""
        found = self._regex.fullmatch(name)
        return found is not None and all(
            any(low <= int(number) <= high for low, high in ranges)
            for number, ranges in zip(found.groups(), self._ranges, strict=True)
        )


def _numbers(text: str) -> list[tuple[int, int]]:
    """Return "0-2,5" as [(0, 2), (5, 5)]."""
    runs = (run.partition("-") for run in text.split(","))
    return [(int(low), int(high or low)) for low, _, high in runs]


_RANGE = re.compile(r"\[([0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)\]")
_TOKENS = (
    (re.compile(r"\*\*/"), "(?:.*/)?"),
    (re.compile(r"/\*\*$"), "(?:/.*)?"),
    (re.compile(r"\*\*"), ".*"),
    (re.compile(r"\*"), "[^/]*"),
    (re.compile(r"\?"), "[^/]"),
    (_RANGE, "([0-9]+)"),
)
_compile = lru_cache(maxsize=256)(Glob)


def matches(key: Key, glob: str) -> bool:
    """Return whether a key matches a glob.

    A glob with "/" is matched against the full path. A glob without is matched against the
    last name, and against the dotted name with `*` matching across dots. The name of an NNX
    Variable's one array may be left out.

    >>> matches("encoder.layer.0.bias", "bias"), matches("encoder.layer.0.bias", "*.bias")
    (True, True)
    >>> matches(("linear", "kernel", "value"), "**/kernel")
    True
    """
    name = name_of(key)
    if _matches(name, glob):
        return True
    return name.endswith(_BOXES) and _matches("/".join(unboxed(path_of(key))), glob)


def _matches(name: str, glob: str) -> bool:
    if "/" in glob:
        return _compile(glob).matches(name)
    if _compile(glob).matches(name.rpartition("/")[2]):
        return True
    dotted = glob.replace("**", "*").replace("*", "**").replace(".", "/")
    return _compile(dotted).matches(name)
