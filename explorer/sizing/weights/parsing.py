"""What a user calls a scheme -> its name and options, with every slip one clear line."""

import difflib
import re
from typing import NamedTuple

from explorer.errors import InputError, check_type, printable
from explorer.sizing.weights.gguf_blocks import MIXES, TYPES
from explorer.sizing.weights.schemes import NAMES, Options

__all__ = ["Wanted", "parse_scheme", "spelled"]

_SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "FP16": "F16"}
_OTHER = {"llm.int8": "int8", "bnb-nf4": "nf4", "bnb-fp4": "fp4", "int8_wo": "int8wo"}
_GROUP = re.compile("(?:g|group)([1-9][0-9]{0,5})")
_BITS = re.compile("b([2348])|([2348])bit")
# words of options that are there or not; what says the default says nothing
_FLAGS = {
    "double": "double", "act": "act", "asym": "asym", "search": "search", "e5m2": "e5m2",
    "sym": "asym", "e4m3": "e5m2",
}  # fmt: skip

# words for one thing, of which a scheme has one
_SAME = {
    "tensor": "scales", "channel": "scales", "block": "scales", "sym": "zero points",
    "asym": "zero points", "e4m3": "formats", "e5m2": "formats",
}  # fmt: skip
_MANY, _COMMON = 20, "Q4_K_M, Q8_0, nf4 or int4:g128"


class Wanted(NamedTuple):
    """A scheme by its name.

    Attributes:
        name: as explorer spells it: "nf4", or "Q4_K_M" for llama.cpp's.
        gguf: whether it is one of llama.cpp's.
        pure: whether all of its tensors have the one type (`llama-quantize --pure`).
        imatrix: whether an importance matrix is given where none must be.
        options: of a scheme for linear layers.
    """

    name: str
    gguf: bool
    pure: bool = False
    imatrix: bool = False
    options: Options = Options()


def parse_scheme(text: str) -> Wanted:
    """Return the scheme that a user names.

    Raises:
        InputError: no scheme or option has that name; the error suggests the nearest.

    >>> parse_scheme("q4_k_m").name, parse_scheme("int4:g64").options.group
    ('Q4_K_M', 64)
    """
    check_type("quantize", text, str, "a scheme's name, such as Q4_K_M or nf4")
    name, *words = [part.strip() for part in text.strip().split(":")]
    lower, upper = name.lower(), name.upper()
    words = [word.lower() for word in words]
    lower = _OTHER.get(lower, lower)
    pure = "pure" in words
    if lower in NAMES and not pure:
        return Wanted(lower, False, options=_options(text, words))
    upper = _SHORT.get(upper, upper)
    if upper in MIXES or (pure and lower in TYPES):
        for word in words:
            if word not in ("pure", "imatrix"):
                what = f"option {printable(word, 30)!r} of {upper}"
                raise _unknown(text, what, ["pure", "imatrix"])
        kind = lower if pure and lower in TYPES else upper
        return Wanted(kind, True, pure, "imatrix" in words)
    raise _unknown(text, f"scheme called {printable(name, 40)!r}", [*NAMES, *MIXES])


def spelled(wanted: Wanted) -> str:
    """Return the shortest name that `parse_scheme` reads as the same scheme.

    >>> spelled(parse_scheme("FP8:block:e4m3")), spelled(parse_scheme("q4_k"))
    ('fp8:block', 'Q4_K_M')
    """
    words = [wanted.name]
    if wanted.gguf:
        flags = (("pure", wanted.pure), ("imatrix", wanted.imatrix))
        return ":".join([*words, *(word for word, given in flags if given)])
    options = wanted.options
    if options.group is not None:
        words.append(f"g{options.group}" if options.group else "channel")
    if options.bits is not None:
        words.append(f"b{options.bits}")
    words += [w for w in ("double", "act", "asym", "search", "e5m2") if getattr(options, w)]
    if options.scales is not None:
        words.append(options.scales)
    return ":".join(words)


def _options(text: str, words: list[str]) -> Options:
    options = Options()
    _check_conflicts(text, words)
    for word in words:
        if found := _GROUP.fullmatch(word):
            options = options._replace(group=int(found[1]))
        elif found := _BITS.fullmatch(word):
            options = options._replace(bits=int(found[1] or found[2]))
        elif word in _FLAGS:
            options = options._replace(**{_FLAGS[word]: _FLAGS[word] == word})
        elif word in ("tensor", "channel", "block"):
            options = options._replace(scales=word)
        else:
            known = ["g128", "b4", *_FLAGS, "tensor", "channel", "block", "pure"]
            raise _unknown(text, f"option {printable(word, 30)!r}", known)
    return options


def _check_conflicts(text: str, words: list[str]) -> None:
    """Refuse two words for one thing.

    Raises:
        InputError: it names both.
    """
    seen: dict[str, str] = {}
    for word in words:
        kind = "scales" if _GROUP.fullmatch(word) else _SAME.get(word)
        kind = "bits" if _BITS.fullmatch(word) else kind
        if kind is None:
            continue
        if seen.setdefault(kind, word) != word:
            raise InputError(
                "quantize",
                found=f"{printable(text.strip(), 40)} has two options for {kind}: "
                f"{seen[kind]} and {word}",
                expected="one of them",
            )


def _unknown(text: str, what: str, known: list[str]) -> InputError:
    spelled = {each.lower(): each for each in known}
    wanted = re.findall(r"'([^']*)'", what)
    word = wanted[0].lower() if wanted else text
    near = [spelled[each] for each in difflib.get_close_matches(word, spelled, 3, 0.5)]
    if len(known) > _MANY:
        return InputError(
            "quantize",
            found=f"no {what}",
            expected="one that `explorer quantize --help` lists",
            cure=f"did you mean {' or '.join(near)}?" if near else f"try {_COMMON}",
        )
    return InputError(
        "quantize",
        found=f"no {what}",
        expected=", ".join(known),
        cure=f"did you mean {near[0]}?" if near else "",
    )
