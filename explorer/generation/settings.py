"""How a continuation is chosen: the settings, and whether they make sense."""

import math
from typing import Any

import msgspec

from explorer.errors import InputError, TreeError, check_type, printable

__all__ = ["GenerationSettings", "checked"]

_LARGEST_SEED = 2**32 - 1


class GenerationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are chosen, and when a sequence ends.

    Attributes:
        max_new_tokens: of each sequence.
        temperature: what logits are divided by; 0 takes the likeliest token.
        top_k: only so many of the likeliest tokens are candidates; None for all.
        top_p: only the fewest of the likeliest tokens whose probabilities add up to it
            (nucleus sampling, Holtzman et al. 2020); None for all.
        min_p: only tokens of at least this share of the likeliest one's probability; None for
            all.
        repetition_penalty: divides positive logits of tokens seen before, multiplies negative
            ones (Keskar et al. 2019); 1 changes nothing.
        stop_tokens: each ends its sequence, and is not part of it.
        seed: of the draws, which are others in each row; those of the first are what it would
            draw alone.
        cache_dtype: of the keys and values that are kept, a name or a dtype; None for that of
            the computation.

    >>> GenerationSettings(temperature=0.8, top_p=0.95).max_new_tokens
    128
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    stop_tokens: tuple[int, ...] = ()
    seed: int = 0
    cache_dtype: str | None = None


_NAMES = tuple(GenerationSettings.__struct_fields__)
# of each number: the least, whether it may be that, the largest, in words
_RANGES: dict[str, tuple[float, bool, float, str]] = {
    "max_new_tokens": (1, True, math.inf, "1 or more"),
    "temperature": (0, True, math.inf, "0 or more"),
    "top_k": (1, True, math.inf, "1 or more"),
    "top_p": (0, False, 1, "above 0, at most 1"),
    "min_p": (0, True, 1, "0 to 1"),
    "repetition_penalty": (0, False, math.inf, "above 0"),
    "seed": (0, True, _LARGEST_SEED, f"0 to {_LARGEST_SEED:,}"),
}
_CACHE_DTYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")


def checked(
    settings: GenerationSettings | None, changes: dict[str, Any]
) -> GenerationSettings:
    """Return settings with changes.

    Args:
        settings: to begin with; None for the defaults.
        changes: some of them by name.

    Raises:
        InputError: an unknown name, a number out of range, or settings that contradict
            each other.

    >>> checked(None, {"temperature": 0.7, "top_k": 40}).top_k
    40
    >>> checked(None, {"temprature": 0.7})
    Traceback (most recent call last):
    explorer.errors.InputError: temprature: is not a setting; expected one of max_new_tokens, \
temperature, top_k, top_p, min_p, repetition_penalty, stop_tokens, seed, cache_dtype
    """
    given = GenerationSettings() if settings is None else settings
    check_type("settings", given, GenerationSettings, "GenerationSettings")
    for name in changes:
        if name not in _NAMES:
            raise InputError(
                name,
                found="is not a setting",
                expected=f"one of {', '.join(_NAMES)}",
            )
    if not isinstance(changes.get("stop_tokens", ()), tuple):
        changes = changes | {"stop_tokens": _tokens(changes["stop_tokens"])}
    given = msgspec.structs.replace(given, **changes)
    plain = {name: _as_python(getattr(given, name)) for name in _NAMES}
    plain["cache_dtype"] = _dtype_name(given.cache_dtype)
    given = msgspec.structs.replace(given, **plain)
    for name, bounds in _RANGES.items():
        _check_number(name, getattr(given, name), *bounds)
    given = msgspec.structs.replace(given, stop_tokens=_tokens(given.stop_tokens))
    if given.cache_dtype is not None and given.cache_dtype not in _CACHE_DTYPES:
        raise InputError(
            "cache_dtype",
            found=f"is {printable(repr(given.cache_dtype), 40)}",
            expected=f"one of {', '.join(_CACHE_DTYPES)}",
        )
    _check_sampled(given)
    return given


def _dtype_name(dtype: Any) -> Any:
    """Return the name of a dtype; what is not one as it is."""
    if dtype is None or isinstance(dtype, str):
        return dtype
    import numpy as np

    try:
        return np.dtype(dtype).name
    except TypeError:
        return dtype


def _as_python(value: Any) -> Any:
    """Return a number or an array of NumPy as Python's."""
    to_python = (
        getattr(value, "tolist", None) if type(value).__module__ == "numpy" else None
    )
    return value if to_python is None else to_python()


def _check_number(
    name: str, value: Any, least: float, includes: bool, most: float, words: str
) -> None:
    default = getattr(GenerationSettings(), name)
    if value is None and default is None:
        return
    whole = name in ("max_new_tokens", "top_k", "seed")
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        kind = "None" if value is None else type(value).__name__
        expected = f"a {'whole ' if whole else ''}number, {words}"
        raise TreeError(name, found=f"is {kind}", expected=expected)
    fits = least <= value <= most if includes else least < value <= most
    if not fits or not math.isfinite(value):
        raise InputError(name, found=f"is {value}", expected=words)


def _tokens(given: Any) -> tuple[int, ...]:
    given = _as_python(given)
    tokens = (given,) if isinstance(given, int) else given
    if isinstance(tokens, list | tuple | set | frozenset):
        tokens = [_as_python(each) for each in tokens]
    if not isinstance(tokens, list | tuple | set | frozenset) or not all(
        type(each) is int and each >= 0 for each in tokens
    ):
        raise InputError(
            "stop_tokens",
            found=f"is {printable(repr(given), 60)}",
            expected="token ids of 0 or more",
        )
    return tuple(tokens)


def _check_sampled(settings: GenerationSettings) -> None:
    """Refuse what chooses among candidates where the likeliest is taken."""
    if settings.temperature > 0:
        return
    for name in ("top_k", "top_p", "min_p"):
        if getattr(settings, name) is not None:
            raise InputError(
                name,
                found=f"is {getattr(settings, name)} at a temperature of 0, which takes the "
                "likeliest token",
                cure="give a temperature above 0",
            )
