"""The words and numbers of a combination, checked; no values are needed for it."""

import difflib
from math import isfinite
from typing import Any

from explorer.errors import InputError, check_type, printable, shown

__all__ = ["NAMES", "NEED_BASE", "check_share", "checked_weights", "method_named"]

NAMES = ("average", "slerp", "task_arithmetic", "ties", "dare")
NEED_BASE = frozenset({"task_arithmetic", "ties", "dare"})
_OTHER = {"linear": "average", "soup": "average", "task-arithmetic": "task_arithmetic"}


def method_named(text: str) -> str:
    """Return the method that a user names.

    Raises:
        InputError: none is called so; the error suggests the nearest.

    >>> method_named("Task-Arithmetic")
    'task_arithmetic'
    """
    check_type("method", text, str, "the name of a method, such as ties")
    wanted = text.strip().lower()
    wanted = _OTHER.get(wanted, wanted)
    if wanted in NAMES:
        return wanted
    near = difflib.get_close_matches(wanted, NAMES, 1, 0.5)
    raise InputError(
        "method",
        found=f"no method is called {printable(text, 40)!r}",
        expected=", ".join(NAMES),
        cure=f"did you mean {near[0]}?" if near else "",
    )


def checked_weights(method: str, weights: Any, models: int) -> tuple[float, ...]:
    """Return the weights of so many models, the default where none are given.

    Raises:
        InputError: not one number for each model; of "slerp", not one share of the way.

    >>> checked_weights("average", None, 2), checked_weights("slerp", 0.25, 2)
    ((0.5, 0.5), (0.25,))
    """
    if method == "slerp":
        if models != 2:
            raise InputError("models", found=f"{models}", expected="two for slerp")
        alone = isinstance(weights, list | tuple) and len(weights) == 1
        share = weights[0] if alone else weights
        return (0.5 if share is None else check_share("weights", share, whole=True),)
    if weights is None:
        return (1 / models if method == "average" else 1.0,) * models
    expected = f"{models} numbers, one for each model"
    check_type("weights", weights, (list, tuple), expected)
    for weight in weights:
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not isfinite(weight):
            found = shown(weight, 40)
            raise InputError("weights", found=found, expected=expected)
    if len(weights) != models:
        raise InputError("weights", found=f"{len(weights)} numbers", expected=expected)
    if method == "average" and sum(weights) == 0:
        raise InputError("weights", found="a sum of 0", expected="a sum to divide by")
    return tuple(map(float, weights))


def check_share(place: str, value: Any, whole: bool = False) -> float:
    """Return a share: above 0, or from 0 where `whole`, up to 1; raise an InputError of others."""
    check_type(place, value, (int, float), "a share, such as 0.5")
    inside = 0 <= value <= 1 if whole else 0 < value <= 1
    if isinstance(value, bool) or not inside:
        low = "from 0" if whole else "above 0,"
        raise InputError(place, found=f"is {value}", expected=f"a share {low} up to 1")
    return float(value)
