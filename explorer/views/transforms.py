"""What transforms changed and what was written, as documents: a sentence, components, the worst."""

from explorer.document.records import Block, Column, Document, Notes, Paragraph, Table
from explorer.transforms.records import Change, ComponentChange, Evaluation, TensorChange
from explorer.transforms.written import SavedFile
from explorer.views import units

__all__ = ["change_document", "saved_document"]

_WORST = 5  # tensors that are shown by name
_COMPONENT_COLUMNS = (
    Column("component"),
    Column("tensors", "right", rank=2),
    Column("parameters", "right"),
    Column("before", "right", rank=1),
    Column("after", "right"),
    Column("bits", "right"),
    Column("error", "right"),
)
_TENSOR_COLUMNS = (
    Column("largest errors", least=30),
    Column("shape", rank=2),
    Column("before", rank=1),
    Column("after"),
    Column("error", "right"),
    Column("SNR", "right", rank=1),
    Column("cosine", "right", rank=2),
    Column("max", "right", rank=3),
)


def change_document(change: Change) -> Document:
    """Return a change as a sentence, a row for each component, and the tensors that lost most."""
    blocks: list[Block] = [Paragraph(_sentence(change))]
    if change.tensors:
        blocks.append(_components(change))
    worst = _worst(change)
    if worst:
        rows = [_tensor_row(each) for each in worst]
        blocks.append(Table(_TENSOR_COLUMNS, rows).without_empty_columns())
    notes = [*_types(change), *_evaluated(change.evaluation), *change.notes]
    notes += [f"{each.name}: {each.note}" for each in change.tensors if each.note][:_WORST]
    if notes:
        blocks.append(Notes(tuple(notes)))
    return Document(f"{change.target}: {change.transform}", tuple(blocks))


def saved_document(saved: SavedFile) -> Document:
    """Return what was written as a sentence and notes."""
    what = f"{saved.tensors:,} tensor{'' if saved.tensors == 1 else 's'}"
    named = {"hf": "Hugging Face's", "gguf": "llama.cpp's", "flax": "explorer's own"}
    names = f" under {named[saved.names]} names" if saved.names in named else ""
    text = f"{saved.path}: {what}{names}, {units.size(saved.nbytes)}, as {saved.format}"
    notes = (*map(str, saved.casts), *saved.notes)
    blocks = (Paragraph(text), *([Notes(notes)] if notes else []))
    return Document(blocks=blocks)


def _sentence(change: Change) -> str:
    before, after = change.parameters_before, change.parameters_after
    parameters = f"{after:,} parameters"
    if before != after:
        parameters = f"{before:,} -> {after:,} parameters ({units.share(after, before)})"
    parts = [
        parameters,
        f"{units.size(change.bytes_before)} -> {units.size(change.bytes_after)}",
        f"{change.bits_before:.4g} -> {change.bits_after:.5g} bits per weight",
    ]
    if change.trainable is not None:
        share = units.share(change.trainable, after)
        parts.append(f"{change.trainable:,} of them trained ({share})")
    if change.relative_error is not None:
        parts.append(f"relative error {_figure(change.relative_error)}")
    return ", ".join(parts)


def _components(change: Change) -> Table:
    rows = [_component_row(each) for each in change.by_component]
    total = ComponentChange(
        component="total",
        tensors=len(change.tensors),
        parameters_before=change.parameters_before,
        parameters_after=change.parameters_after,
        bytes_before=change.bytes_before,
        bytes_after=change.bytes_after,
        relative_error=change.relative_error,
    )
    return Table(_COMPONENT_COLUMNS, [*rows, _component_row(total)], total=True)


def _component_row(row: ComponentChange) -> tuple:
    return (
        row.component,
        row.tensors,
        row.parameters_after,
        units.size(row.bytes_before),
        units.size(row.bytes_after),
        units.bits(row.bits_after),
        _figure(row.relative_error),
    )


def _worst(change: Change) -> list[TensorChange]:
    """Return the tensors of the largest errors."""
    lost = [each for each in change.tensors if each.relative_error]
    return sorted(lost, key=lambda each: -(each.relative_error or 0.0))[:_WORST]


def _tensor_row(each: TensorChange) -> tuple:
    return (
        each.name,
        units.shape(each.shape),
        each.before,
        each.after,
        _figure(each.relative_error),
        "" if each.snr is None else f"{each.snr:.1f} dB",
        "" if each.cosine is None else f"{each.cosine:.5f}",
        _figure(each.max_abs),
    )


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"


def _types(change: Change) -> list[str]:
    """Return what each format takes, where there are several."""
    sizes = change.by_type
    if len(sizes) < 2:
        return []
    listed = ", ".join(f"{name} {units.size(nbytes)}" for name, nbytes in sizes.items())
    return [f"stored: {listed}"]


def _evaluated(found: Evaluation | None) -> list[str]:
    if found is None:
        return []
    return [
        f"on {found.tokens:,} tokens: loss {found.loss_before:.4f} -> {found.loss_after:.4f}, "
        f"top token the same for {100 * found.agreement:.1f}%, "
        f"divergence {found.divergence:.3g} nats"
    ]
