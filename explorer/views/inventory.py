"""An inventory as a document: its ledger above its tree, in a terminal or a notebook; as records."""

from collections.abc import Sequence
from typing import Any

import msgspec

from explorer.analyses.ledger import ledger_of
from explorer.analyses.widths import WIDTHS
from explorer.document.records import Document, Table
from explorer.inventory.inventory import Inventory
from explorer.views.exports import tensor_records
from explorer.views.ledger import ledger_document
from explorer.views.tree import tree_table

__all__ = [
    "inventory_document",
    "inventory_frame",
    "inventory_html",
    "inventory_records",
    "inventory_text",
]


def inventory_document(
    inventory: Inventory, tensors: Table | None = None, widths: Sequence[str] = WIDTHS
) -> Document:
    """Return the ledger and a table of the tensors: the folded tree, or another one."""
    ledger = ledger_document(ledger_of(inventory, widths))
    if tensors is None:
        tensors = tree_table(inventory)
    return Document(ledger.title, (*ledger.blocks, tensors))


def inventory_text(inventory: Inventory, width: int = 100) -> str:
    """Return what `str(inventory)` shows, in lines of at most `width` cells."""
    from explorer.document.text import text_of

    return text_of(inventory_document(inventory), width)


def inventory_html(inventory: Inventory) -> str:
    """Return what a notebook shows: the same as an HTML fragment."""
    from explorer.document.html import html_of

    return html_of(inventory_document(inventory))


def inventory_records(inventory: Inventory) -> dict[str, Any]:
    """Return the ledger and a dict for each tensor: what `show --all --format json` prints."""
    ledger = msgspec.to_builtins(ledger_of(inventory))
    return {"ledger": ledger, "tensors": msgspec.to_builtins(tensor_records(inventory))}


def inventory_frame(inventory: Inventory) -> Any:
    """Return a data frame of pandas with a row for each tensor."""
    from explorer.document.frames import frame_of

    return frame_of(msgspec.to_builtins(tensor_records(inventory)), "tensor")
