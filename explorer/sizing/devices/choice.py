"""What a user says of devices ("h200:8", "here") -> a device and how many of it."""

import msgspec

from explorer.errors import InputError, check_type, printable
from explorer.sizing.checks import number_in
from explorer.sizing.devices.catalog import Device, find_device

__all__ = ["DeviceChoice", "choose"]

_MOST = 1 << 20


class DeviceChoice(msgspec.Struct, frozen=True):
    """A device and how many of it there are.

    >>> choose("h200:8").words
    'h200:8'
    """

    device: Device
    count: int = 1

    @property
    def words(self) -> str:
        """The name and the number."""
        return f"{self.device.key}:{self.count}" if self.count > 1 else self.device.key


def choose(text: str) -> DeviceChoice:
    """Return the devices that a text names: NAME, NAME:N, or "here".

    Raises:
        InputError: an unknown name, or a number that is not from 1 to 1,048,576.

    >>> choose("tpu-v5e:16").count
    16
    """
    check_type("device", text, str, "a name such as h100 or h200:8")
    name, colon, number = text.partition(":")
    if name.strip().lower() == "here":
        if colon:
            raise InputError(
                "device",
                found=f"{printable(text, 40)}: here has the number of devices that there are",
                expected="here",
            )
        from explorer.sizing.devices.here import devices_here

        return DeviceChoice(*devices_here())
    if not colon:
        return DeviceChoice(find_device(name))
    count = number_in(number)
    if not count or count > _MOST:
        raise InputError(
            "device",
            found=f"{printable(text, 40)}: a number {printable(number, 20)!r}",
            expected=f"a name and a number from 1 to {_MOST:,}: h200:8",
        )
    return DeviceChoice(find_device(name), count)
