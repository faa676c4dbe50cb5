"""Plans over a grid of settings: one row for each combination."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import msgspec

from explorer.document.exporting import Exportable
from explorer.errors import InputError, printable, shown
from explorer.sizing.records import MemoryPlan

__all__ = ["Sweep", "SweepRow", "sweep_of"]

_MOST = 10_000


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one combination, in short."""

    settings: dict[str, Any]
    parameters: int
    bits_per_weight: float | None
    terms: dict[str, int]
    total_bytes: int
    low_bytes: int
    high_bytes: int
    per_device_bytes: int
    fits: bool | None
    longest_context: int | None


class Sweep(Exportable, frozen=True, kw_only=True):
    """A table of plans.

    Attributes:
        target: what was asked about.
        axes: the settings that vary, each with its values in order.
        device: the device asked about; None for none, or where it varies.
        rows: a row for each combination, the last axis changing fastest.

    >>> import explorer as ex
    >>> table = ex.sweep("gpt2", {"context": [512, 1024], "dtype": ["float32", "float16"]})
    >>> [row.terms["kv_cache"] for row in table.rows]
    [37748736, 18874368, 75497472, 37748736]
    """

    target: str
    axes: dict[str, tuple[Any, ...]]
    device: str | None
    rows: tuple[SweepRow, ...]

    def by_need(self) -> "Sweep":
        """Return the same rows, those that need least of a device first."""
        rows = sorted(self.rows, key=lambda row: row.per_device_bytes)
        return msgspec.structs.replace(self, rows=tuple(rows))


def sweep_of(
    plan: Callable[[dict[str, Any]], MemoryPlan], axes: Mapping[str, Sequence[Any]]
) -> Sweep:
    """Return the plans of every combination of values.

    Args:
        plan: returns the plan for settings.
        axes: the values of each setting that varies.

    Raises:
        InputError: no axis, an axis without values, more than 10,000 combinations, or what
            `plan` refuses.
    """
    values = {name: _values(name, each) for name, each in axes.items()}
    number = prod(map(len, values.values()))
    if not values or not 0 < number <= _MOST:
        raise InputError(
            "sweep",
            found=f"{number if values else 0:,} combinations",
            expected=f"axes with values, 1 to {_MOST:,} combinations in all",
        )
    rows, plans = [], []
    for combination in product(*values.values()):
        settings = dict(zip(values, combination, strict=True))
        plans.append(plan(settings))
        rows.append(_row(settings, plans[-1]))
    devices = {each.device for each in plans}
    return Sweep(
        target=plans[0].target,
        axes=values,
        device=devices.pop() if len(devices) == 1 else None,
        rows=tuple(rows),
    )


def _values(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(
            f"sweep: {printable(name, 40)}",
            found=shown(values, 60),
            expected="a list of values",
        )
    if len(values[: _MOST + 1]) > _MOST:  # before a long range is made a tuple
        raise InputError(
            f"sweep: {printable(name, 40)}",
            found=f"more than {_MOST:,} values",
            expected=f"1 to {_MOST:,} combinations in all",
        )
    return tuple(values)


def _row(settings: dict[str, Any], plan: MemoryPlan) -> SweepRow:
    return SweepRow(
        settings=settings,
        parameters=plan.parameters,
        bits_per_weight=plan.bits_per_weight,
        terms={term.name: term.bytes for term in plan.terms},
        total_bytes=plan.total_bytes,
        low_bytes=plan.low_bytes,
        high_bytes=plan.high_bytes,
        per_device_bytes=plan.per_device_bytes,
        fits=plan.fits,
        longest_context=plan.longest_context,
    )
