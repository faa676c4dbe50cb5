"""The ledger and its groups, as plain text."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from explorer.analyses.ledger import Ledger, ledger_of
from explorer.errors import printable
from explorer.inventory.card import Agreement
from explorer.inventory.inventory import Inventory
from explorer.views import units
from explorer.views.table import PLAIN, Column, Style, render_table

__all__ = [
    "inventory_text",
    "ledger_text",
    "summary_text",
]

if TYPE_CHECKING:
    from explorer.analyses.summary import Summary


def inventory_text(inventory: Inventory, width: int = 100) -> str:
    """Return the ledger and the folded tree: what `str(inventory)` shows."""
    from explorer.views.tree import tree_text

    return f"{ledger_text(ledger_of(inventory), width)}\n\n{tree_text(inventory, width)}"


def ledger_text(ledger: Ledger, width: int, style: Style = PLAIN) -> str:
    """Return the ledger of one target: a sentence, the figures, what explains them."""
    where = ", ".join(
        part
        for part in (
            ledger.source,
            "" if ledger.file_bytes is None else units.size(ledger.file_bytes),
        )
        if part
    )
    title = printable(f"{ledger.target} ({where})" if ledger.target else where, width)
    lines = [f"{style.bold}{title}{style.reset}", "", *_wrap(_sentence(ledger), width), ""]
    lines.append(_figures(ledger, width, style))
    lines += ["", *_groups(ledger, width)]
    fits = agreement_text(ledger.agreement) if ledger.agreement else []
    if fits or ledger.notes:
        lines += ["", f"{style.dim}notes{style.reset}"]
        for note in (*fits, *ledger.notes):
            lines += _wrap(printable(note, 600), width, "  - ", "    ")
    return "\n".join(lines)


def _sentence(ledger: Ledger) -> str:
    return (
        f"{ledger.parameters:,} parameters in {ledger.parameter_tensors:,} tensors "
        f"= {ledger.weights:,} weights + {ledger.biases:,} biases"
    )


_Row = tuple[str, str, str]


def _figures(ledger: Ledger, width: int, style: Style) -> str:
    rows = [*_counted(ledger), *_active_rows(ledger), *_stored(ledger)]
    columns = (
        Column("figure"),
        Column("", "right"),
        Column("how it is known", elastic=True),
    )
    taken = [max(len(row[i]) for row in rows) + 2 for i in (0, 1)]
    return render_table(columns, _continued(rows, width - sum(taken)), width, style)


def _counted(ledger: Ledger) -> Iterator[_Row]:
    known, said = ledger.provenance, ledger.advertised
    yield "tensors", units.count(ledger.tensors), known["tensors"]
    if ledger.file_bytes is None and ledger.checkpoint_tensors:
        checkpoint = units.count(ledger.checkpoint_tensors)
        yield "  of a checkpoint", checkpoint, "exact, under Hugging Face's names"
    yield "parameters", units.count(ledger.parameters), known["parameters"]
    if said:
        yield "  advertised", said.parameters, "by its publisher"
    yield "  weights", units.count(ledger.weights), known["weights"]
    yield "  biases", units.count(ledger.biases), known["biases"]


def _stored(ledger: Ledger) -> Iterator[_Row]:
    known = ledger.provenance
    if ledger.buffers:
        yield "buffers", units.count(ledger.buffers), known["buffers"]
    for name, elements in ledger.collections.items():
        if name not in ("params", "buffers", "batch_stats", "cache"):
            yield name, units.count(elements), known[name]
    others = ledger.tensors - ledger.parameter_tensors
    if ledger.stored_elements != ledger.parameters or others:
        stored = units.count(ledger.stored_elements)
        yield "stored elements", stored, known["stored_elements"]
    yield "unique bytes", units.count(ledger.nbytes), known["nbytes"]
    if ledger.file_bytes is not None:
        yield "file bytes", units.count(ledger.file_bytes), known["file_bytes"]
    if ledger.bits_per_weight is not None:
        yield "bits per weight", units.bits(ledger.bits_per_weight), ""


_CONVENTIONS = {
    "with_embedding_and_head": "active for one token",
    "without_input_embedding": "  without the embedding",
    "without_embedding_and_head": "  nor the head",
}


def _active_rows(ledger: Ledger) -> list[_Row]:
    """Return what one token activates, where that is not everything."""
    active = ledger.active_parameters
    if active is None or active.with_embedding_and_head == ledger.parameters:
        return []
    advertised = ledger.advertised.active if ledger.advertised else ""
    rows = []
    for name, title in _CONVENTIONS.items():
        number = getattr(active, name)
        if number is not None:
            # of a figure whose convention is not known, the first row is the likeliest
            quoted = advertised and name == (active.publisher or next(iter(_CONVENTIONS)))
            known = f"the publisher's {advertised}" if quoted else ""
            rows.append((title, units.count(number), known))
    return rows


def agreement_text(agreement: Agreement) -> list[str]:
    """Return sentences on how a checkpoint fits its config: what would fail to load."""
    model = agreement.class_name
    if agreement.agrees:
        return [
            f"file and config agree: the {agreement.tensors:,} tensors that config.json "
            f"({model}) calls for are there, each in its shape"
        ]
    lines = []
    for found, number, what in (
        (agreement.missing, agreement.lacking, "missing from the file"),
        (agreement.misshapen, len(agreement.misshapen), "of another shape"),
        (agreement.unexpected, len(agreement.unexpected), "not in the model"),
    ):
        if number:
            shown = ", ".join(found[:3]) + (", ..." if number > 3 else "")
            lines.append(f"{number:,} {what}: {shown}")
    if agreement.parameters != agreement.found:
        lines.append(
            f"{agreement.parameters:,} parameters promised, {agreement.found:,} found"
        )
    return [f"file and config ({model}) disagree: {'; '.join(lines)}"]


def _continued(rows: Sequence[_Row], width: int) -> list[_Row]:
    """Return rows whose last text goes on below itself, at most once, where it is long."""
    lines = []
    for *start, known in rows:
        known = printable(known, 600)
        first, *rest = textwrap.wrap(
            known, max(width, 24), max_lines=2, placeholder=" …", break_on_hyphens=False
        ) or [""]
        lines += [(*start, first), *[("", "", more) for more in rest]]
    return lines


def _groups(ledger: Ledger, width: int) -> list[str]:
    """Return one line a grouping: each word with its count and share."""
    lines = []
    for title, groups in (
        ("roles", ledger.roles),
        ("components", ledger.components),
        ("dtypes", ledger.dtypes),
    ):
        if not groups:
            continue
        whole = sum(groups.values())
        words = [
            f"{name} {number:,} ({units.share(number, whole)})"
            for name, number in groups.items()
        ]
        lines += _wrap(", ".join(words), width, f"{title:<10}  ", " " * 12)
    return lines


def summary_text(summary: "Summary", width: int, style: Style = PLAIN) -> str:
    """Return the groups and the total that they add up to."""
    rows = [
        (
            group.name,
            units.count(group.tensors),
            units.count(group.parameters),
            units.share(group.parameters, summary.total.parameters),
            units.count(group.weights),
            units.count(group.biases),
            units.count(group.elements),
            units.size(group.nbytes),
        )
        for group in (*summary.groups, summary.total)
    ]
    columns = (
        Column(summary.by, elastic=True),
        Column("tensors", "right", rank=1),
        Column("parameters", "right"),
        Column("share", "right", rank=2),
        Column("weights", "right", rank=3),
        Column("biases", "right", rank=3),
        Column("elements", "right", rank=5),
        Column("bytes", "right", rank=4),
    )
    return render_table(columns, rows, width, style, total=True)


def _wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
