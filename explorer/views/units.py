"""Figures as text: decimal sizes, percentages, shapes, bits for one weight."""

from collections.abc import Sequence

__all__ = ["bits", "count", "in_memory", "shape", "share", "shares", "size"]

_UNITS = (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "weight"), count(2000, "bias", "biases")
    ('1 weight', '2,000 biases')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def size(nbytes: int) -> str:
    """Return bytes in decimal units, as the field does.

    >>> size(90868376), size(512)
    ('90.9 MB', '512 B')
    """
    for unit, scale in _UNITS:
        if nbytes >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes} B"


def share(part: int, whole: int) -> str:
    """Return a part as a percentage of the whole.

    A part that is not 0 is never shown as "0.0%", nor one that is not all as "100.0%".

    >>> share(1, 3), share(1, 10**9), share(10**9 - 1, 10**9), share(0, 5)
    ('33.3%', '<0.1%', '>99.9%', '0%')
    """
    if not whole:
        return "0%"
    return _tenths(part, whole, (2000 * part + whole) // (2 * whole))


def shares(parts: Sequence[int]) -> list[str]:
    """Return the parts of a whole as percentages whose tenths add up to 100.

    Each is rounded as `share` does, a "<0.1%" being what is missing from 100. Where that does
    not add up, what is left goes to the parts that rounding down takes the most of.

    >>> shares([1, 1, 1]), shares([10**9, 1]), shares([5]), shares([0, 0])
    (['33.4%', '33.3%', '33.3%'], ['>99.9%', '<0.1%'], ['100%'], ['0%', '0%'])
    """
    whole = sum(parts)
    if not whole:
        return ["0%"] * len(parts)
    tenths = [(2000 * part + whole) // (2 * whole) for part in parts]
    small = sum(part > 0 and not number for part, number in zip(parts, tenths, strict=True))
    if not 1000 - small <= sum(tenths) <= 1000:
        tenths = [1000 * part // whole for part in parts]
        lost = sorted(range(len(parts)), key=lambda i: -(1000 * parts[i] % whole))
        for i in lost[: 1000 - sum(tenths)]:
            tenths[i] += 1
    return [
        _tenths(part, whole, number) for part, number in zip(parts, tenths, strict=True)
    ]


def _tenths(part: int, whole: int, number: int) -> str:
    if part in (0, whole):
        return "100%" if part else "0%"
    words = {0: "<0.1%", 1000: ">99.9%"}
    return words.get(number, f"{number // 10}.{number % 10}%")


def shape(sizes: tuple[int, ...] | None, stack: tuple[int, ...] = ()) -> str:
    """Return a shape in brackets, after the numbers of layers and experts that it stacks.

    >>> shape((30522, 384)), shape(()), shape((61, 256, 7168, 2048), (61, 256))
    ('[30522, 384]', '[]', '61×256×[7168, 2048]')
    """
    if sizes is None:
        return ""
    front = "".join(f"{number}×" for number in stack)
    return f"{front}[{', '.join(map(str, sizes[len(stack) :]))}]"


def bits(number: float | None) -> str:
    """Return a number of bits with two decimals; nothing for None.

    >>> bits(7.358)
    '7.36'
    """
    return "" if number is None else f"{number:.2f}"


def in_memory(bytes_at: dict[str, int]) -> str:
    """Return what parameters take at numbers of bits each; a unit is named where it changes.

    >>> in_memory({"32": 32121044992, "16": 16060522496, "4": 4015130624})
    '32.1 GB at 32 bits, 16.1 at 16, 4.0 at 4'
    >>> in_memory({"16": 1342052808704, "8": 671026404352})
    '1.3 TB at 16 bits, 671.0 GB at 8'
    """
    unit, parts = "", []
    for width, nbytes in bytes_at.items():
        number, its_unit = size(nbytes).split(" ")
        named = "" if its_unit == unit else f" {its_unit}"
        parts.append(f"{number}{named} at {width}{'' if parts else ' bits'}")
        unit = its_unit
    return ", ".join(parts)


def change(nbytes: int) -> str:
    """Return a difference of bytes with its sign; nothing for none.

    >>> change(-2_000_000), change(3), change(0)
    ('-2.0 MB', '+3 B', '')
    """
    if not nbytes:
        return ""
    return f"{'-' if nbytes < 0 else '+'}{size(abs(nbytes))}"


def span(low: int, high: int) -> str:
    """Return two sizes, in one unit where the smaller is not lost in it.

    >>> span(80_530_636, 506_593_280), span(62_800, 506_593_280)
    ('80.5 to 506.6 MB', '62.8 kB to 506.6 MB')
    """
    least, unit = size(low).split()
    most, larger = size(high).split()
    scale = {"PB": 10**15, "TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}[
        larger
    ]
    if unit != larger and low * 10 >= scale:
        least, unit = f"{low / scale:.1f}", larger
    return f"{least} to {most} {unit}" if unit == larger else f"{size(low)} to {size(high)}"


def tokens(number: int) -> str:
    """Return a number of tokens in three or four characters, never more than there are.

    >>> tokens(512), tokens(131072), tokens(56832), tokens(1_048_576)
    ('512', '131k', '56k', '1.0M')
    """
    if number < 1000:
        return str(number)
    if number < 10**6:
        return f"{number // 1000}k"
    return f"{number // 10**5 / 10:.1f}M"


def rate(number: float) -> str:
    """Return a number with three digits, and all of a larger one.

    >>> rate(195.566), rate(3.2932), rate(61237.2)
    ('196', '3.29', '61,237')
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def seconds(number: float) -> str:
    """Return a time in the unit that suits it.

    >>> seconds(0.0253), seconds(5.1), seconds(5113), seconds(12_345_678)
    ('25 ms', '5.1 s', '1.4 h', '143 days')
    """
    for unit, scale in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if number >= scale * (2 if unit == "days" else 1):
            return f"{_short(number / scale)} {unit}"
    return f"{_short(number * 1000)} ms"


def _short(number: float) -> str:
    """Return a number with two digits, and all before the point."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
