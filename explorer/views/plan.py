"""A memory plan as a document: the answer, a bar a term, the devices it fits, what is left out."""

from explorer.document.records import Column, Document, Notes, Paragraph, Table, Terms
from explorer.sizing.records import MemoryPlan, Term
from explorer.views import units
from explorer.views.plan_devices import answer_items
from explorer.views.plan_headline import headline
from explorer.views.plan_types import types_table

__all__ = ["plan_document"]

_TERM = Column("term")
_BYTES = Column("bytes", "right")
_EACH = Column("on each", "right")
_CHANGE = Column("change", "right", rank=1)
_RANGE = Column("low to high", "right", rank=2)
_FROM = Column("from", rank=3, least=24, lines=4)


def plan_document(plan: MemoryPlan) -> Document:
    """Return the plan of one target."""
    items = answer_items(plan)
    width = max((len(name) for name, _ in items), default=0)
    types = types_table(plan)
    notes = (*plan.notes, *(f"not modelled: {what}" for what in plan.not_modelled))
    blocks = [
        Paragraph(headline(plan)),
        _terms_table(plan),
        *([Terms(items, width)] if items else []),
        *([types] if types else []),
        *([Notes(notes)] if notes else []),
    ]
    return Document(blocks=tuple(blocks))


def _terms_table(plan: MemoryPlan) -> Table:
    """Return a row for each term with a bar, and their total."""
    several = any(term.on_device != term.bytes for term in plan.terms)
    columns = (
        _TERM,
        _BYTES,
        *([_EACH] if several else []),
        *([_CHANGE] if plan.before else []),
        _RANGE,
        _FROM,
    )
    rows = [_row(plan, term, several) for term in plan.terms]
    if plan.before is not None:
        there = {term.name for term in plan.terms}
        rows += [
            _gone(name, nbytes, several)
            for name, nbytes in plan.before.terms.items()
            if name not in there and nbytes
        ]
    rows.append(_total(plan, several))
    held = [term.on_device for term in plan.terms]
    largest = max(held, default=0) or 1
    shares = [nbytes / largest for nbytes in held] + [0.0] * (len(rows) - len(held))
    return Table(columns, rows, total=True, bars=tuple(shares))


def _row(plan: MemoryPlan, term: Term, several: bool) -> tuple[str, ...]:
    old = plan.before.terms.get(term.name, 0) if plan.before else 0
    known = units.span(term.low, term.high)
    if term.low == term.high:
        known = term.provenance.partition(" (")[0]
    return (
        term.name.replace("_", " "),
        units.size(term.bytes),
        *([units.size(term.on_device)] if several else []),
        *([units.change(term.bytes - old)] if plan.before else []),
        known,
        term.note or term.provenance,
    )


def _gone(name: str, nbytes: int, several: bool) -> tuple[str, ...]:
    each = ("0 B",) if several else ()
    word = name.replace("_", " ")
    return (word, "0 B", *each, units.change(-nbytes), "", "not needed any more")


def _total(plan: MemoryPlan, several: bool) -> tuple[str, ...]:
    exact = plan.low_bytes == plan.high_bytes
    change = plan.total_bytes - plan.before.total_bytes if plan.before else 0
    return (
        "total",
        units.size(plan.total_bytes),
        *([units.size(plan.per_device_bytes)] if several else []),
        *([units.change(change)] if plan.before else []),
        "exact" if exact else units.span(plan.low_bytes, plan.high_bytes),
        "",
    )
