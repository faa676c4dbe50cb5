"""Accelerators and laptops as records: memory, bandwidth, peaks, prices, each with its source."""

import difflib
from functools import cache
from pathlib import Path

import msgspec

from explorer.errors import InputError, printable
from explorer.storage.local import read_whole

__all__ = ["COMMON", "Device", "Prices", "devices", "find_device", "prices"]

_DATA = Path(__file__).parent / "devices.json"
_MAX_BYTES = 1 << 20
# what a plan without a device is compared with
COMMON = (
    "laptop-16gb", "laptop-32gb", "m4-pro", "m4-max", "rtx-4090", "a100", "h100", "h200", "b200",
    "mi300x", "tpu-v5e", "tpu-v5p", "tpu-v6e",
)  # fmt: skip
_OF_MESHES = ("Google", "NVIDIA", "AMD")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of device.

    Attributes:
        key, name, aliases: what it is called.
        vendor: who makes it.
        memory: bytes; `printed` is the capacity in its vendor's own unit.
        usable: the share of it that a program may have.
        bandwidth: bytes a second.
        teraflops: dense peak by dtype (bf16, fp16, fp8, int8), in 10^12 operations a second.
        measured: the best that a matrix product was measured at, where a source has it.
        watts: board power.
        price: dollars an hour, from the dated table; None where it has none.
        price_source: whose price, as of when.
        confidence: how sure the row is, where it is not sure.
        note, disagreements, per: what else its sources say.
        sources: where the figures are from.

    >>> find_device("RTX4090").memory
    24000000000
    """

    key: str
    name: str
    vendor: str
    memory: int
    printed: str
    bandwidth: int
    aliases: tuple[str, ...] = ()
    usable: float = 1.0
    teraflops: dict[str, float] = {}
    measured: dict[str, float] = {}
    watts: int | None = None
    price: float | None = None
    price_source: str = ""
    confidence: str = ""
    note: str = ""
    disagreements: str = ""
    per: str = ""
    sources: tuple[str, ...] = ()

    @property
    def usable_memory(self) -> int:
        """Bytes that a program may have."""
        return int(self.memory * self.usable)

    @property
    def in_meshes(self) -> bool:
        """Whether several of it are one mesh; computers with memory of their own are not.

        >>> find_device("h100").in_meshes, find_device("laptop-16gb").in_meshes
        (True, False)
        """
        return self.vendor in _OF_MESHES


class Prices(msgspec.Struct, frozen=True):
    """When prices were read, and where."""

    date: str
    source: str


class _Data(msgspec.Struct, frozen=True):
    about: str
    prices: Prices
    devices: tuple[Device, ...]


@cache
def _data() -> _Data:
    return msgspec.json.decode(read_whole(str(_DATA), _MAX_BYTES), type=_Data)


def devices() -> tuple[Device, ...]:
    """Return every device that explorer knows."""
    return _data().devices


def prices() -> Prices:
    """Return the date and the source of the prices."""
    return _data().prices


def find_device(name: str) -> Device:
    """Return the device of that name, in any case, with or without hyphens.

    Raises:
        InputError: no such device; the error suggests the nearest.
    """
    found = _by_name().get(_plain(name))
    if found is not None:
        return found
    near = difflib.get_close_matches(_plain(name), _by_name(), 1, 0.5)
    raise InputError(
        "device",
        found=f"no device is called {printable(name, 40)!r}",
        expected="a name of `explorer devices`, or here",
        cure=f"did you mean {_by_name()[near[0]].key}?" if near else "",
    )


@cache
def _by_name() -> dict[str, Device]:
    return {
        _plain(name): device
        for device in devices()
        for name in (device.key, device.name, *device.aliases)
    }


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
