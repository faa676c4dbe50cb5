"""devices: what explorer knows of accelerators and laptops."""

import click

from explorer.cli.console import echo_result, format_option
from explorer.document.records import Document

__all__ = ["devices"]


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD...]")
@format_option
def devices(words: tuple[str, ...], form: str) -> None:
    """Print the devices that plans are compared with: memory, bandwidth, peaks, prices.

    \b
    Examples:
      explorer devices
      explorer devices tpu
      explorer devices h100 --format json
    """
    from explorer.errors import InputError, printable
    from explorer.sizing.devices.catalog import devices as known
    from explorer.sizing.devices.catalog import find_device

    wanted = [word.lower() for word in words]
    found = [
        device
        for device in known()
        if all(
            word
            in " ".join((device.key, device.name, device.vendor, *device.aliases)).lower()
            for word in wanted
        )
    ]
    if not found and len(words) == 1:
        found = [find_device(words[0])]
    if not found:
        raise InputError(
            "devices",
            found=f"no device has the words {printable(' '.join(words), 60)!r}",
            expected="part of a name or a vendor of `explorer devices`",
        )

    def document() -> Document:
        from explorer.views.devices import devices_document

        return devices_document(found)

    echo_result(form, document=document, records=lambda: found)
