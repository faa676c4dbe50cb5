"""What parameters take in memory at a number of bits each, scales and padding left out."""

from collections.abc import Iterable

from explorer import dtypes
from explorer.errors import InputError

__all__ = ["WIDTHS", "bytes_at", "widths_of"]

WIDTHS = ("32", "16", "8", "4")


def bytes_at(parameters: int, widths: Iterable[str] = WIDTHS) -> dict[str, int]:
    """Return the bytes of so many parameters at each number of bits, rounded up.

    >>> bytes_at(8_030_261_248)
    {'32': 32121044992, '16': 16060522496, '8': 8030261248, '4': 4015130624}
    """
    return {
        width: -(-parameters * int(width) // 8)
        if width.isdecimal()
        else _fractional(parameters, width)
        for width in widths
    }


def _fractional(parameters: int, width: str) -> int:
    from fractions import Fraction  # seldom needed, and start-up is counted in milliseconds

    return -int(-parameters * Fraction(width) // 8)


def widths_of(bits: float | None, dtype: str | None) -> tuple[str, ...]:
    """Return the numbers of bits that `--bits` and `--dtype` ask for; the usual four for none.

    Raises:
        InputError: bits that are not from 1 to 64, or a dtype that does not exist.

    >>> widths_of(4.5, None), widths_of(None, "bfloat16"), widths_of(None, None)
    (('4.5',), ('16',), ('32', '16', '8', '4'))
    """
    if bits is None and dtype is None:
        return WIDTHS
    if bits is not None and not 1 <= bits <= 64:
        raise InputError("--bits", found=f"is {bits:g}", expected="a number from 1 to 64")
    wanted = set() if bits is None else {bits}
    if dtype is not None:
        wanted.add(dtypes.parse("--dtype", dtype).bits)
    return tuple(f"{each:g}" for each in sorted(wanted, reverse=True))
