"""What quantising each tensor costs, as a document: a row a tensor, the most expensive first."""

from typing import TYPE_CHECKING

from explorer.document.records import Column, Document, Paragraph, Table
from explorer.document.words import counted

if TYPE_CHECKING:
    from explorer.transforms.sensitivity import Sensitivity

__all__ = ["sensitivity_document", "sensitivity_text"]

_MOST = 30  # tensors that are shown


def sensitivity_document(found: "Sensitivity") -> Document:
    """Return the divergence of each tensor in each scheme, in nats a token.

    >>> from explorer.document.text import text_of
    >>> from explorer.transforms.sensitivity import Sensitivity, TensorCost
    >>> cost = TensorCost(name="up", scheme="nf4", parameters=8, bytes=5, loss=1.5, divergence=0.25)
    >>> print(text_of(sensitivity_document(Sensitivity(target="m", loss=1.0, tokens=9, costs=(cost,))), 60))
    m: 1 tensor, each quantised alone; loss 1.0000 on 9 tokens
    <BLANKLINE>
    divergence  parameters   nf4
    up                   8  0.25
    """
    schemes = dict.fromkeys(each.scheme for each in found.costs if each.scheme)
    names = dict.fromkeys(each.name for each in found.costs)
    sizes = {each.name: each.parameters for each in found.costs}
    by = {(each.name, each.scheme): each.divergence for each in found.costs}
    columns = (
        Column("divergence", least=20),
        Column("parameters", "right", rank=1),
        *(Column(scheme, "right") for scheme in schemes),
    )
    rows = [
        (name, sizes[name], *(_figure(by.get((name, scheme))) for scheme in schemes))
        for name in [*names][:_MOST]
    ]
    what = f"{found.target}: {counted(len(names), 'tensor')}"
    head = f"{what}, each quantised alone; loss {found.loss:.4f} on {found.tokens:,} tokens"
    blocks = [Paragraph(head), Table(columns, rows)]
    if len(names) > _MOST:
        blocks.append(Paragraph(f"and {len(names) - _MOST:,} more, of lower cost"))
    return Document(blocks=tuple(blocks))


def sensitivity_text(found: "Sensitivity") -> str:
    """Return what `str(found)` shows, in lines of at most 100 cells."""
    from explorer.document.text import text_of

    return text_of(sensitivity_document(found), 100)


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"
