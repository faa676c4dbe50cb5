"""Figures as text: decimal sizes, percentages, shapes, bits for one weight."""

__all__ = ["bits", "in_memory", "shape", "share", "size"]

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


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
    if not part or not whole:
        return "0%"
    if part == whole:
        return "100%"
    per_mille = (2000 * part + whole) // (2 * whole)
    if per_mille == 0:
        return "<0.1%"
    if per_mille == 1000:
        return ">99.9%"
    return f"{per_mille // 10}.{per_mille % 10}%"


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
