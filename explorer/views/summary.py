"""A summary as a document: the groups, and the total that they add up to."""

from explorer.analyses.summary import Summary
from explorer.document.records import Column, Document, Table
from explorer.views import units

__all__ = ["summary_document"]


def summary_document(summary: Summary) -> Document:
    """Return one row for each group, and their total."""
    # the first to be left out: what is 0 throughout, or equal to another column
    total = summary.total
    columns = (
        Column(summary.by, least=24, hued=summary.by == "component"),
        Column("tensors", "right", rank=3),
        Column("parameters", "right"),
        Column("share", "right", rank=2),
        Column("weights", "right", rank=4),
        Column("biases", "right", rank=4 if total.biases else 7),
        Column("elements", "right", rank=5 if total.elements != total.parameters else 6),
        Column("bytes", "right", rank=1),
    )
    numbers = [group.parameters for group in summary.groups]
    shares = (*units.shares(numbers), units.share(total.parameters, total.parameters))
    rows = [
        (
            group.name,
            group.tensors,
            group.parameters,
            share,
            group.weights,
            group.biases,
            group.elements,
            units.size(group.nbytes),
        )
        for group, share in zip((*summary.groups, total), shares, strict=True)
    ]
    bars = tuple(n / total.parameters for n in numbers) if total.parameters else ()
    return Document(blocks=(Table(columns, rows, total=True, bars=bars, parts=True),))
