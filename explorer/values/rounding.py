"""Whether one array is another one, rounded to a narrower format."""

from dataclasses import dataclass

import numpy as np

from explorer.values.blocks import Done, flat_blocks, kept, same_bits, widened

__all__ = ["rounded_to"]


def rounded_to(a: np.ndarray, b: np.ndarray, done: Done = kept) -> str:
    """Return the format whose rounding makes one array of the other; "" for none.

    One side holds numbers of that format alone, and those of the other side round to them: to
    the nearest, or towards zero (a cut bfloat16). Where the arrays' own formats do not say which
    one it is, most numbers that are not 0 were rounded, and most of those not to 0: of a few
    that changed among numbers that every format holds, rounding explains nothing.

    Args:
        a, b: of one shape.
        done: called with each part that was read.

    >>> rounded_to(np.float32([1.001, 2.0]), np.float32([1.0, 2.0]))
    'bfloat16'
    >>> rounded_to(np.float32([1.001, 2, 3, 4]), np.float32([1, 2, 3, 4]))
    ''
    """
    import ml_dtypes

    narrow: dict[str, np.dtype] = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
    narrow |= {"float16": np.dtype(np.float16)}
    own = {side.dtype.name: side.dtype for side in (a, b) if _is_float(side.dtype)}
    if len(own) < 2 and not {"float32", "float64"} & own.keys():
        return ""
    is_said = len(own) == 2  # formats of their own say what was rounded
    if is_said:
        narrow = {name: kind for name, kind in own.items() if kind.itemsize < 8}
    for name, kind in narrow.items():
        for wide, short, read in ((a, b, done), (b, a, lambda y, x: done(x, y))):
            if wide.dtype != kind and _rounds(wide, short, kind, is_said, read):
                return name
    return ""


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


@dataclass(slots=True)
class _Evidence:
    """How many numbers are not 0, were rounded, were rounded to 0."""

    nonzero: int = 0
    rounded: int = 0
    to_zero: int = 0

    @property
    def is_enough(self) -> bool:
        return 2 * self.rounded >= self.nonzero and 2 * self.to_zero <= self.rounded


def _rounds(
    wide: np.ndarray, short: np.ndarray, kind: np.dtype, is_said: bool, done: Done
) -> bool:
    """Return whether an array rounds to another: blocks that differ are checked first."""
    found = _Evidence()
    is_one_format = wide.dtype == short.dtype
    with np.errstate(all="ignore"):
        for differ in (True, False) if is_one_format else (True,):
            for _, x, y in flat_blocks(wide, short, done):
                if is_one_format and same_bits(x, y) == differ:
                    continue
                if not _block_rounds(x, y, kind, found):
                    return False
    return is_said or found.is_enough


def _block_rounds(
    wide: np.ndarray, short: np.ndarray, kind: np.dtype, found: _Evidence
) -> bool:
    held = short if short.dtype == kind else short.astype(kind)
    numbers = widened(held).astype(np.float64)
    if short.dtype != kind and not _equal(numbers, widened(short)):
        return False
    exact = wide.astype(np.float64)
    if not np.array_equal(np.isfinite(exact), np.isfinite(numbers)):
        return False  # overflow is not rounding
    if not _are_rounded(wide, kind, numbers):
        return False
    changed = exact != numbers
    if wide.dtype == short.dtype and ((exact == 0) & _other_sign(exact, numbers)).any():
        return False  # rounding keeps the sign of a zero
    found.nonzero += int(np.count_nonzero(exact))
    found.rounded += int(np.count_nonzero(changed))
    found.to_zero += int(np.count_nonzero(changed & (numbers == 0)))
    return True


def _are_rounded(wide: np.ndarray, kind: np.dtype, numbers: np.ndarray) -> bool:
    if _equal(wide.astype(kind).astype(np.float64), numbers):
        return True
    if kind.name != "bfloat16" or wide.dtype != np.float32:
        return False
    cut = (wide.view(np.uint32) & 0xFFFF0000).view(np.float32)
    return _equal(cut, numbers)


def _other_sign(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.signbit(x) != np.signbit(y)


def _equal(x: np.ndarray, y: np.ndarray) -> bool:
    return np.array_equal(x, y, equal_nan=True)
