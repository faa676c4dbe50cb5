"""The stored weights of a plan, one row for each storage type."""

from explorer.document.records import Column, Table
from explorer.sizing.records import MemoryPlan, TypeTotal
from explorer.views import units

__all__ = ["types_table"]

_TYPES = (
    Column("type"),
    Column("tensors", "right"),
    Column("parameters", "right"),
    Column("bytes", "right"),
    Column("bits", "right"),
)


def types_table(plan: MemoryPlan) -> Table | None:
    """Return the table of types; None for weights that are not quantised."""
    if all(term.name != "quantization" for term in plan.terms):
        return None
    rows = [_row(name, total) for name, total in plan.by_type.items()]
    whole = TypeTotal(
        tensors=sum(total.tensors for total in plan.by_type.values()),
        elements=sum(total.elements for total in plan.by_type.values()),
        bytes=sum(total.bytes for total in plan.by_type.values()),
    )
    return Table(_TYPES, [*rows, _row("total", whole)], total=True)


def _row(name: str, total: TypeTotal) -> tuple[str, ...]:
    return (
        name,
        f"{total.tensors:,}",
        f"{total.elements:,}" if total.elements else "",
        units.size(total.bytes),
        f"{8 * total.bytes / total.elements:.5g}" if total.elements else "",
    )
