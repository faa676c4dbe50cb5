"""Names of optimizers -> the optax transformations that are compiled."""

import difflib
from typing import Any

from explorer.errors import InputError, printable

__all__ = ["OPTIMIZERS", "optimizer_named"]

OPTIMIZERS = (
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adan", "adamw", "amsgrad",
    "lamb", "lars", "lion", "muon", "nadam", "nadamw", "novograd", "radam", "rmsprop", "sgd", "sm3", "yogi",
)  # fmt: skip


def optimizer_named(name: str) -> Any:
    """Return optax's transformation of a name, with its default settings.

    Raises:
        InputError: optax has none of that name; the error suggests the nearest.

    >>> len(optimizer_named("adamw"))
    2
    """
    import optax

    short = name.strip().lower()
    if short == "momentum":
        return optax.sgd(1e-3, momentum=0.9)
    if short not in OPTIMIZERS:
        near = difflib.get_close_matches(short, OPTIMIZERS, 1, 0.5)
        raise InputError(
            "--optimizer",
            found=f"no optimizer is called {printable(name, 40)!r}",
            expected=f"one of {', '.join(OPTIMIZERS)}, momentum",
            cure=f"did you mean {near[0]}?" if near else "",
        )
    make = getattr(optax, short, None) or getattr(optax.contrib, short, None)
    if make is None:
        raise InputError(
            "--optimizer",
            found=f"optax {optax.__version__} has no {short}",
            cure="pip install -U optax",
        )
    return make(1e-3)
