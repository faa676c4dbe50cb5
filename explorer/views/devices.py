"""Devices as a document: a row each, with the date and the source of the prices."""

from collections.abc import Sequence

from explorer.document.records import Column, Document, Notes, Table
from explorer.sizing.devices.catalog import Device, prices

__all__ = ["devices_document"]

_COLUMNS = (
    Column("device"),
    Column("memory", "right"),
    Column("usable", "right", rank=3),
    Column("GB/s", "right"),
    Column("bf16", "right", rank=1),
    Column("measured", "right", rank=2),
    Column("fp8", "right", rank=2),
    Column("int8", "right", rank=3),
    Column("watts", "right", rank=4),
    Column("$/h", "right", rank=3),
    Column("vendor", rank=5),
)


def devices_document(devices: Sequence[Device]) -> Document:
    """Return a row for each device; peaks are dense, in 10^12 operations a second."""
    rows = [
        (
            device.key,
            device.printed,
            "" if device.usable == 1 else f"{device.usable:.0%}",
            f"{device.bandwidth / 10**9:,.0f}",
            _rate(device.teraflops.get("bf16")),
            _measured(device),
            _rate(device.teraflops.get("fp8")),
            _rate(device.teraflops.get("int8")),
            device.watts,
            "" if device.price is None else f"{device.price:.2f}",
            device.vendor,
        )
        for device in devices
    ]
    notes = [
        "bf16, fp8, int8: dense peak in 10^12 operations a second; measured: the best that a "
        "bf16 matrix product was measured at",
    ]
    if any(device.price is not None for device in devices):
        notes.append(
            f"$/h: assumed, {prices().source}, until {prices().date}; --format json says whose"
        )
    unsure = [device.key for device in devices if device.confidence]
    if unsure:
        notes.append(f"less sure (--format json says why): {', '.join(unsure)}")
    table = Table(_COLUMNS, rows).without_empty_columns()
    return Document(blocks=(table, Notes(tuple(notes))))


def _measured(device: Device) -> str:
    """Return the best measured rate in bf16 and its share of the peak."""
    measured, peak = device.measured.get("bf16"), device.teraflops.get("bf16")
    if measured is None or peak is None:
        return ""
    return f"{measured:,.0f} ({measured / peak:.0%})"


def _rate(teraflops: float | None) -> str:
    return "" if teraflops is None else f"{teraflops:,.0f}"
