"""What fits: the longest context, and common devices with a tick or a cross."""

from collections.abc import Callable, Iterable

from explorer.sizing.devices.catalog import Device
from explorer.sizing.records import DeviceFit

__all__ = ["LONGEST", "fit_of", "fits_of", "longest_context"]

LONGEST = 1 << 24  # tokens: where an architecture does not bound its positions


def longest_context(
    bytes_for: Callable[[int], int], memory: int, most: int = LONGEST
) -> int | None:
    """Return the most tokens with which bytes fit into memory; None where one does not.

    Args:
        bytes_for: bytes on the fullest device at a context; they do not fall as it grows.
        memory: bytes that a device offers.
        most: tokens that are tried at most.

    >>> longest_context(lambda tokens: 100 + 3 * tokens, 1000)
    300
    """
    if bytes_for(1) > memory:
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if bytes_for(middle) <= memory:
            low = middle
        else:
            high = middle - 1
    return low


def fit_of(
    device: Device,
    count: int,
    needed: int,
    bytes_for: Callable[[int], int] | None,
    most: int,
) -> DeviceFit:
    """Return whether so many bytes fit a device, and the longest context if one is asked for.

    Args:
        device, count: the device, and how many of them the bytes are spread over.
        needed: bytes on the fullest of them.
        bytes_for: as of `longest_context`; None where memory does not depend on the context.
        most: tokens that the architecture has positions for.
    """
    memory = device.usable_memory
    longest = longest_context(bytes_for, memory, most) if bytes_for else None
    return DeviceFit(
        name=device.key,
        count=count,
        memory=memory,
        fits=needed <= memory,
        longest_context=longest,
    )


def fits_of(
    devices: Iterable[Device],
    count: int,
    needed: int,
    bytes_for: Callable[[int], int] | None,
    most: int = LONGEST,
) -> tuple[DeviceFit, ...]:
    """Return of each device whether so many of it suffice, each for the bytes of the fullest.

    Of more than one, devices that are not in meshes are left out.
    """
    return tuple(
        fit_of(device, count, needed, bytes_for, most)
        for device in devices
        if count == 1 or device.in_meshes
    )
