"""Two arrays of one tensor -> how far the second is from the first."""

from math import log10
from typing import TYPE_CHECKING, NamedTuple

from explorer.errors import InputError, printable

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Distance", "check_kept", "distance", "lost_note", "overflow"]

_WIDER = "choose a scheme with wider scales, such as mxfp4, or bfloat16"


class Distance(NamedTuple):
    """How far an array is from another one; see `TensorChange`."""

    relative_error: float | None
    snr: float | None
    cosine: float | None
    max_abs: float


def overflow(place: str, before: "np.ndarray", scheme: str, name: str = "") -> InputError:
    """Return the error of finite weights whose stored form is not: their scales overflow.

    >>> import numpy as np
    >>> print(overflow("up.weight", np.array([1e30, -3e38], "float32"), "q8_0"))
    up.weight: holds -3e+38, beyond the scales of q8_0; expected smaller weights; choose a scheme with wider scales, such as mxfp4, or bfloat16
    """
    flat, subject = before.reshape(-1), f"{printable(name, 100)} " if name else ""
    return InputError(
        place,
        found=f"{subject}holds {flat[abs(flat).argmax()]:.4g}, beyond the scales of {scheme}",
        expected="smaller weights",
        cure=_WIDER,
    )


def check_kept(place: str, lost: Distance | None, scheme: str, name: str = "") -> None:
    """Refuse large weights that a scheme turns into zeros, or into worse.

    Scales that are stored in few bits have a largest number, and a smallest one: weights below
    that become zeros, which the error of 1 says.

    Raises:
        InputError: they are beyond its scales.

    >>> check_kept("up.weight", Distance(1.0, 0.0, None, 1e36), "q6_k")
    Traceback (most recent call last):
    ...
    explorer.errors.InputError: up.weight: holds up to 1e+36, of which q6_k keeps nothing; expected smaller weights; choose a scheme with wider scales, such as mxfp4, or bfloat16
    """
    if lost is None or (lost.relative_error or 0) < 1 or lost.max_abs <= 1:
        return
    subject = f"{printable(name, 100)} " if name else ""
    raise InputError(
        place,
        found=f"{subject}holds up to {lost.max_abs:.4g}, of which {scheme} keeps nothing",
        expected="smaller weights",
        cure=_WIDER,
    )


def lost_note(error: float | None) -> str:
    """Return what a record says of a quantised tensor of whose numbers nothing is left.

    >>> lost_note(1.0), lost_note(0.01)
    ('nothing is left of it: below the smallest scales of the type', '')
    """
    if (error or 0) < 1:
        return ""
    return "nothing is left of it: below the smallest scales of the type"


def distance(before: "np.ndarray", after: "np.ndarray") -> Distance:
    """Return how far an array is from what it was; sums are in float64.

    Args:
        before, after: of one shape, of any float dtypes.

    >>> import numpy as np
    >>> found = distance(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    >>> found.relative_error, found.snr, found.max_abs
    (0.1, 20.0, 0.5)
    """
    from explorer.values.changes import changes_of

    found = changes_of(before, after)
    error = found.relative_l2
    snr = -20 * log10(error) if error else None
    return Distance(error, snr, found.cosine, found.max_abs)
