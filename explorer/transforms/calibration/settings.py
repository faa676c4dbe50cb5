"""How a quantised model is calibrated on data."""

import difflib
from typing import Any

import msgspec

from explorer.errors import InputError, TreeError, printable, shown

__all__ = ["METHODS", "Calibration", "check_calibration"]

METHODS = ("gptq", "awq")


class Calibration(msgspec.Struct, frozen=True):
    """Data on which quantised weights are chosen, instead of the nearest ones.

    Attributes:
        method: "gptq", which corrects the weights that remain for the error of each; or "awq",
            which scales inputs so that the weights of large ones lose less.
        tokens: ids [sequences, length], or batches of them, as `gather_moments` takes them.

    >>> import numpy as np
    >>> Calibration("gptq", np.zeros((2, 8), int)).method
    'gptq'
    """

    method: str
    tokens: Any


def check_calibration(given: Any) -> Calibration:
    """Return a calibration that can be used.

    Raises:
        TreeError: something else.
        InputError: an unknown method; the error suggests the nearest.
    """
    if not isinstance(given, Calibration):
        raise TreeError(
            "calibrate",
            found=f"is {shown(given, 60)}",
            expected="Calibration(method, tokens), or None",
        )
    method = given.method
    if not isinstance(method, str):
        raise TreeError("method", found=f"is {shown(method, 60)}", expected="gptq or awq")
    if method not in METHODS:
        near = difflib.get_close_matches(method.lower(), METHODS, 1, 0.4)
        raise InputError(
            "method",
            found=f"is {printable(method, 40)!r}",
            expected="gptq or awq",
            cure=f"did you mean {near[0]}?" if near else "",
        )
    return given
