"""A memory plan as a document: the answer, a bar a term, the devices it fits, what is left out."""

from explorer.document.records import Column, Document, Notes, Paragraph, Table
from explorer.sizing.records import MemoryPlan
from explorer.views import units
from explorer.views.plan_types import types_table

__all__ = ["plan_document"]

_TERMS = (
    Column("term"),
    Column("bytes", "right"),
    Column("how it is known", least=24, lines=2),
)


def plan_document(plan: MemoryPlan) -> Document:
    """Return the plan of one target."""
    largest = max((term.bytes for term in plan.terms), default=0) or 1
    rows = [
        (term.name.replace("_", " "), units.size(term.bytes), term.note or term.provenance)
        for term in plan.terms
    ]
    bars = tuple(term.bytes / largest for term in plan.terms)
    total = f"{units.size(plan.total_bytes)} for {plan.parameters:,} parameters"
    notes = [Notes(said) for said in (plan.notes, plan.not_modelled) if said]
    types = types_table(plan)
    tables = [Table(_TERMS, rows, bars=bars), *([types] if types else [])]
    return Document(plan.target, (Paragraph(total), *tables, *notes))
