"""Names of optimizers -> the optax transformations that are compiled."""

from typing import Any

from explorer.errors import InputError
from explorer.sizing.training.optimizers import NAMES, parsed_name

__all__ = ["OPTIMIZERS", "optimizer_named"]

OPTIMIZERS = tuple(name for name in NAMES if not name.endswith("8bit"))


def optimizer_named(name: str) -> Any:
    """Return optax's transformation of a name, with its default settings.

    Raises:
        InputError: optax has none of that name; the error suggests the nearest.

    >>> len(optimizer_named("adamw"))
    2
    """
    short, mu = parsed_name(name)
    if short.endswith("8bit"):
        raise InputError(
            "--optimizer",
            found=f"{short} is bitsandbytes', and optax has none",
            expected="one of optax to be compiled",
            cure="leave out --compile",
        )
    import optax

    if short == "momentum":
        return optax.sgd(1e-3, momentum=0.9)
    make = getattr(optax, short, None) or getattr(optax.contrib, short, None)
    if make is None:
        raise InputError(
            "--optimizer",
            found=f"optax {optax.__version__} has no {short}",
            cure="pip install -U optax",
        )
    return make(1e-3) if mu is None else make(1e-3, mu_dtype=mu)
