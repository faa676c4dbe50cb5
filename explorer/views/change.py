"""What a transform changed as a document: a sentence, the components, what lost most, and the notes."""

from explorer.document.records import Block, Column, Document, Notes, Paragraph, Table
from explorer.transforms.records import Change, ComponentChange, Evaluation, TensorChange
from explorer.views import units

__all__ = ["change_document", "change_text"]

_WORST = 5  # tensors that are shown by name
_FLOATS = ("float64", "float32", "float16", "bfloat16")
_COMPONENT_COLUMNS = (
    Column("component"),
    Column("tensors", "right", rank=2),
    Column("parameters", "right"),
    Column("before", "right", rank=1),
    Column("after", "right"),
    Column("bits", "right"),
    Column("zeros", "right", rank=1),
    Column("error", "right", rank=1),
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
    """Return a change as a sentence, a row for each component, and the tensors that lost most.

    >>> from explorer.document.text import text_of
    >>> tensor = TensorChange(name="kernel", component="mlp", shape=(4, 8), before="float32",
    ...     after="float32", parameters_before=32, parameters_after=32, bytes_before=128,
    ...     bytes_after=128, zeros=16)
    >>> change = Change(transform="prune 0.5", target="m", tensors=(tensor,))
    >>> print(text_of(change_document(change), 80))
    m: prune 0.5
    <BLANKLINE>
    32 parameters, 128 B, 32 bits per weight, 16 are zero (50.0%)
    <BLANKLINE>
    component  tensors  parameters  before  after   bits  zeros
    mlp              1          32   128 B  128 B  32.00     16
    ─────────  ───────  ──────────  ──────  ─────  ─────  ─────
    total            1          32   128 B  128 B  32.00     16
    """
    blocks: list[Block] = [Paragraph(_sentence(change))]
    if change.evaluation is not None:
        blocks.append(Paragraph(_evaluated(change.evaluation)))
    if change.tensors:
        blocks.append(_components(change))
    worst = _worst(change)
    if worst:
        rows = [_tensor_row(each) for each in worst]
        blocks.append(Table(_TENSOR_COLUMNS, rows).without_empty_columns())
    notes = [*_types(change), *change.notes]
    notes += [f"{each.name}: {each.note}" for each in change.tensors if each.note][:_WORST]
    if notes:
        blocks.append(Notes(tuple(notes)))
    title = f"{change.target}: {change.transform}" if change.target else change.transform
    return Document(title, tuple(blocks))


def change_text(change: Change) -> str:
    """Return what `str(change)` shows, in lines of at most 100 cells."""
    from explorer.document.text import text_of

    return text_of(change_document(change), 100)


def _sentence(change: Change) -> str:
    before, after = change.parameters_before, change.parameters_after
    parameters = f"{after:,} parameters"
    if before != after:
        parameters = f"{before:,} -> {after:,} parameters ({units.share(after, before)})"
    parts = [
        parameters,
        _arrow(units.size(change.bytes_before), units.size(change.bytes_after)),
        _arrow(f"{change.bits_before:.5g}", f"{change.bits_after:.5g}")
        + " bits per weight",
    ]
    if zeros := _zeros(change):
        parts.append(f"{zeros:,} are zero ({units.share(zeros, after)})")
    if change.trainable is not None:
        share = units.share(change.trainable, after)
        parts.append(f"{change.trainable:,} of them trained ({share})")
    if change.relative_error is not None:
        parts.append(f"relative error {_figure(change.relative_error)}")
    return ", ".join(parts)


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def _components(change: Change) -> Table:
    rows = [_component_row(each, change) for each in change.by_component]
    total = ComponentChange(
        component="total",
        tensors=len(change.tensors),
        parameters_before=change.parameters_before,
        parameters_after=change.parameters_after,
        bytes_before=change.bytes_before,
        bytes_after=change.bytes_after,
        relative_error=change.relative_error,
    )
    rows.append(_component_row(total, change))
    return Table(_COMPONENT_COLUMNS, rows, total=True).without_empty_columns()


def _component_row(row: ComponentChange, change: Change) -> tuple:
    zeros = _zeros(change, "" if row.component == "total" else row.component)
    return (
        row.component,
        row.tensors,
        row.parameters_after,
        units.size(row.bytes_before),
        units.size(row.bytes_after),
        units.bits(row.bits_after),
        zeros or None,
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
        None if each.snr is None else f"{each.snr:.1f} dB",
        None if each.cosine is None else f"{each.cosine:.5f}",
        _figure(each.max_abs),
    )


def _figure(number: float | None) -> str | None:
    return None if number is None else f"{number:.3g}"


def _zeros(change: Change, component: str = "") -> int:
    """Return the zeros that a transform left, those of quantised tensors left out."""
    return sum(
        each.zeros or 0
        for each in change.tensors
        if each.after in _FLOATS and component in ("", each.component)
    )


def _types(change: Change) -> list[str]:
    """Return what each format takes, where there are several."""
    sizes = change.by_type
    if len(sizes) < 2:
        return []
    listed = ", ".join(f"{name} {units.size(nbytes)}" for name, nbytes in sizes.items())
    return [f"stored: {listed}"]


def _evaluated(found: Evaluation) -> str:
    return (
        f"on {found.tokens:,} tokens: loss {found.loss_before:.4f} -> {found.loss_after:.4f}, "
        f"top token the same for {100 * found.agreement:.1f}%, "
        f"divergence {found.divergence:.3g} nats"
    )
