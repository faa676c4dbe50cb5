"""Where parameters are placed on a mesh, as a document: a row for each."""

from explorer.document.records import Column, Document, Paragraph, Table
from explorer.training.sharding.placed_tensors import PlacementTable

__all__ = ["placement_document"]

_COLUMNS = (
    Column("tensor", least=20),
    Column("shape", rank=1),
    Column("split over", rank=0),
    Column("why", rank=2),
    Column("bytes", "right", rank=1),
    Column("on a device", "right"),
)


def placement_document(found: PlacementTable) -> Document:
    """Return a sentence about the whole state, and a row for each parameter."""
    rows = [
        (
            each.name,
            " x ".join(map(str, each.shape)),
            each.spec or "whole on each",
            each.why,
            each.nbytes,
            each.device_bytes,
        )
        for each in found.tensors
    ]
    whole = sum(each.nbytes for each in found.tensors)
    part = sum(each.device_bytes for each in found.tensors)
    mesh = " x ".join(f"{name} {size}" for name, size in found.mesh.items())
    sentence = (
        f"a state of {found.state_bytes:,} bytes, of which each device of the mesh {mesh} holds "
        f"{found.device_bytes:,}"
    )
    rows.append(("total", "", "", "", whole, part))
    table = Table(_COLUMNS, rows, total=True)
    return Document(blocks=(Paragraph(sentence), table))
