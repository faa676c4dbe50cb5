"""The ledger as a document: a sentence, the figures, their groups, what explains them."""

from collections.abc import Iterator

from explorer.analyses.ledger import Ledger
from explorer.document.records import Cell, Column, Document, Notes, Paragraph, Table
from explorer.inventory.card import Agreement
from explorer.views import units

__all__ = ["groups_table", "ledger_document"]

_Row = tuple[str, Cell, str]
_COLUMNS = (
    Column("figure"),
    Column("value", "right"),
    Column("how it is known", least=24, lines=3),
)
_GROUPS = (
    Column("by", once=True),
    Column("part", least=12, hued=True),
    Column("elements", "right"),
    Column("share", "right", rank=1),
)


def ledger_document(ledger: Ledger) -> Document:
    """Return the ledger of one target."""
    size = "" if ledger.file_bytes is None else units.size(ledger.file_bytes)
    where = ", ".join(filter(None, (ledger.source, size)))
    figures = [*_counted(ledger), *_active(ledger), *_stored(ledger)]
    groups = groups_table(ledger)
    notes = Notes((*_agreement(ledger.agreement), *ledger.notes))
    return Document(
        f"{ledger.target} ({where})" if ledger.target else where,
        (
            Paragraph(
                f"{units.count(ledger.parameters, 'parameter')}{_mark(ledger)} in "
                f"{units.count(ledger.parameter_tensors, 'tensor')} "
                f"= {units.count(ledger.weights, 'weight')} + "
                f"{units.count(ledger.biases, 'bias', 'biases')}"
            ),
            *_in_memory(ledger),
            Table(_COLUMNS, figures),
            *([groups] if groups.rows else []),
            *([notes] if notes.items else []),
        ),
    )


def _in_memory(ledger: Ledger) -> Iterator[Paragraph]:
    if ledger.parameters:
        yield Paragraph(f"in memory: {units.in_memory(ledger.bytes_at)}")


def _mark(ledger: Ledger) -> str:
    """Return what a figure that is not exact carries wherever it stands alone."""
    word = ledger.provenance["parameters"].partition(" ")[0]
    return "" if word == "exact" else f" ({word})"


def _counted(ledger: Ledger) -> Iterator[_Row]:
    known, advertised = ledger.provenance, ledger.advertised
    if ledger.file_bytes is None and ledger.checkpoint_tensors:
        yield "module leaves", ledger.tensors, known["tensors"]
        how = f"{known['tensors']}, under Hugging Face's names"
        yield "checkpoint tensors", ledger.checkpoint_tensors, how
        if advertised and advertised.file_tensors is not None:
            yield "file tensors", advertised.file_tensors, f"= {advertised.file_sum}"
    else:
        yield "tensors", ledger.tensors, known["tensors"]
    yield "parameters", ledger.parameters, known["parameters"]
    if advertised:
        yield "  advertised", advertised.parameters, "by its publisher"
    yield "  weights", ledger.weights, known["weights"]
    yield "  biases", ledger.biases, known["biases"]


def _stored(ledger: Ledger) -> Iterator[_Row]:
    known = ledger.provenance
    if ledger.buffers:
        yield "buffers", ledger.buffers, known["buffers"]
    for name, elements in ledger.collections.items():
        if name not in ("params", "buffers", "batch_stats", "cache"):
            yield name, elements, known[name]
    others = ledger.tensors - ledger.parameter_tensors
    if ledger.stored_elements != ledger.parameters or others:
        yield "stored elements", ledger.stored_elements, known["stored_elements"]
    yield "unique bytes", ledger.nbytes, known["nbytes"]
    published = ledger.advertised
    if published and published.file_bytes is not None:
        bits = 8 * published.file_bytes / ledger.parameters
        how = f"{published.file_format}: {units.bits(bits)} bits per weight"
        yield "published file", published.file_bytes, how
    if ledger.file_bytes is not None:
        yield "file bytes", ledger.file_bytes, known["file_bytes"]
    if ledger.bits_per_weight is not None:
        is_assumed = known["nbytes"].startswith("assumed")
        how = "assumed (as unique bytes)" if is_assumed else ""
        yield "bits per weight", units.bits(ledger.bits_per_weight), how


_CONVENTIONS = {
    "with_embedding_and_head": "with embedding and head",
    "without_input_embedding": "without the embedding",
    "without_embedding_and_head": "without embedding and head",
}


def _active(ledger: Ledger) -> Iterator[_Row]:
    """Yield the parameters that one token activates, where these are not all of them.

    "active" is one figure everywhere: the count by the publisher's convention, where it is
    known. The others follow in their own words.
    """
    active = ledger.active_parameters
    if active is None or active.with_embedding_and_head == ledger.parameters:
        return
    advertised = ledger.advertised.active if ledger.advertised else ""
    quoted = active.publisher or next(iter(_CONVENTIONS))
    claim = _CONVENTIONS[quoted] + (f", the publisher's {advertised}" if advertised else "")
    yield "active for one token", getattr(active, quoted), claim
    for name, title in _CONVENTIONS.items():
        number = getattr(active, name)
        if number is not None and name != quoted:
            yield f"  {title}", number, ""


def groups_table(ledger: Ledger) -> Table:
    """Return roles, components and dtypes, each with its elements, its share and a bar.

    The rows of each of the three add up: those of roles and of components to the parameters,
    those of dtypes to all unique elements.
    """
    rows: list[tuple[Cell, ...]] = []
    bars: list[float] = []
    for by, groups in (
        ("role", ledger.roles),
        ("component", ledger.components),
        ("dtype", ledger.dtypes),
    ):
        numbers = [*groups.values()]
        whole = sum(numbers) or 1
        shares = units.shares(numbers)
        rows += [(by, *row) for row in zip(groups, numbers, shares, strict=True)]
        bars += [number / whole for number in numbers]
    return Table(_GROUPS, rows, bars=tuple(bars), parts=True)


def _agreement(agreement: Agreement | None) -> Iterator[str]:
    """Yield how a checkpoint fits its config: what would fail to load."""
    if agreement is None:
        return
    model = agreement.class_name
    if agreement.agrees:
        yield (
            f"file and config agree: the {agreement.tensors:,} tensors that config.json "
            f"({model}) calls for are there, each in its shape"
        )
        return
    parts = []
    for found, number, what in (
        (agreement.missing, agreement.lacking, "missing from the file"),
        (agreement.misshapen, len(agreement.misshapen), "of another shape"),
        (agreement.unexpected, len(agreement.unexpected), "not in the model"),
    ):
        if number:
            more = ", ..." if number > 3 else ""
            parts.append(f"{number:,} {what}: {', '.join(found[:3])}{more}")
    if agreement.parameters != agreement.found:
        parts.append(
            f"{agreement.parameters:,} parameters promised, {agreement.found:,} found"
        )
    yield f"file and config ({model}) disagree: {'; '.join(parts)}"
