"""The devices of this machine, as JAX and the operating system report them."""

import os

from explorer.errors import InputError
from explorer.sizing.devices.catalog import Device, devices

__all__ = ["devices_here"]


def devices_here() -> tuple[Device, int]:
    """Return the kind of the local devices, with the memory that they report, and how many.

    An accelerator's memory is the limit that its allocator reports; where that is missing, or
    there is no accelerator, the memory of this machine. Bandwidth and peaks come from the
    catalogue where the device's kind is in it, and are 0 else.

    Raises:
        InputError: JAX does not find any device.
    """
    import jax

    found = jax.local_devices()
    if not found:
        raise InputError(
            "device", found="JAX finds no device here", expected="at least one"
        )
    first = found[0]
    if first.platform == "cpu":
        return _host(), 1
    stats = first.memory_stats() or {}
    memory = int(stats.get("bytes_limit", 0))
    known = _known(first.device_kind)
    if not memory and known is None:
        raise InputError(
            "device",
            found=f"{first.device_kind} does not report its memory",
            expected="a name of `explorer devices`",
        )
    device = Device(
        key="here",
        name=first.device_kind,
        vendor=first.platform,
        memory=memory or (known.memory if known else 0),
        printed=f"{(memory or (known.memory if known else 0)) / 2**30:.1f} GiB",
        bandwidth=known.bandwidth if known else 0,
        teraflops=known.teraflops if known else {},
        measured=known.measured if known else {},
        watts=known.watts if known else None,
        sources=("jax.local_devices()",),
    )
    return device, len(found)


def _known(kind: str) -> Device | None:
    """Return the catalogue's device whose key the words of a device kind hold."""
    words = "".join(c for c in kind.lower() if c.isalnum())
    fitting = [
        device
        for device in devices()
        if any(
            "".join(c for c in name.lower() if c.isalnum()) in words
            for name in (device.key, *device.aliases)
        )
    ]
    return max(fitting, key=lambda device: len(device.key), default=None)


def _host() -> Device:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device(
        key="here",
        name="this machine",
        vendor="cpu",
        memory=memory,
        printed=f"{memory / 2**30:.1f} GiB",
        bandwidth=0,
        usable=0.75,
        note="a quarter of the memory is left to the system",
        sources=("the operating system",),
    )
