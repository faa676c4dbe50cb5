"""What the pane beside the rows says of one of them: terms, texts, and a picture of its values."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from explorer.analyses.collapse import Row
from explorer.browsing.filtering import job_of
from explorer.browsing.outline import ItemPath, Outline
from explorer.inventory.inventory import Inventory
from explorer.inventory.own_names import component_word
from explorer.inventory.tensor import TensorSpec
from explorer.views import units

if TYPE_CHECKING:
    from explorer.formats.spans import TensorSpans

__all__ = ["DetailLine", "details_of", "name_at", "place_lines"]

_ROLES = {
    "kernel": "a weight, multiplies its input",
    "embedding": "a weight, a row for each token or position",
    "scale": "a weight, multiplies each channel",
    "bias": "is added to the output",
}
_SHOWN = 4  # tensors that are named


class DetailLine(NamedTuple):
    """A term and its text; a line without a term is a heading, a note or a picture."""

    term: str
    text: str
    kind: str = "figure"


def name_at(outline: Outline, path: ItemPath) -> str:
    """Return the name of a row with those of the rows above it.

    >>> import explorer as ex
    >>> name_at(Outline([ex.explore("gpt2")]), (2, 1, 0))
    'layers_[0-11]/attention/query'
    """
    names: list[str] = []
    for depth in range(1, len(path) + 1):
        if path[depth - 1] < 0:  # a copy has the name of the folded row's place
            names.pop()
        names.append(outline.item(path[:depth]).name)
    return "/".join(names)


def details_of(
    outline: Outline, path: ItemPath, found: Sequence[DetailLine] = ()
) -> list[DetailLine]:
    """Return what is known of a row, its figures first, then what its tensors are.

    Args:
        outline: the rows.
        path: of the row.
        found: what is known of its values and its place, between both.
    """
    lines = [DetailLine("", name_at(outline, path) or "everything", "title")]
    sides = outline.item(path).sides
    for side, branch in enumerate(sides):
        if len(sides) > 1:
            target = outline.inventories[side].target
            lines.append(DetailLine("", f"{'AB'[side]}: {target}", "head"))
        if branch is None:
            lines.append(DetailLine("", "is not there", "note"))
            continue
        lines += _of_row(branch.row, outline, side)
        if len(sides) > 1:
            lines += _of_tensors(outline, path, side)
    if len(sides) > 1:
        return [*lines, *_difference(outline, path), *found]
    return [*lines, *found, *_of_tensors(outline, path, 0)]


def _of_row(row: Row, outline: Outline, side: int) -> Iterator[DetailLine]:
    share = units.share(row.parameters, outline.root.parameters(side))
    whole = "what is shown" if outline.is_part else "all"
    of_whole = f" ({share} of {whole})" if row.parameters else ""
    yield DetailLine("parameters", f"{row.parameters:,}{of_whole}")
    if row.biases and row.weights:
        yield DetailLine("  weights", f"{row.weights:,}")
        yield DetailLine("  biases", f"{row.biases:,}")
    if row.shape is None:
        yield DetailLine("tensors", f"{row.tensors:,}")
    if row.elements > row.parameters:
        state = units.count(row.elements - row.parameters, "element")
        yield DetailLine("state", f"{state}, not learned")
    yield DetailLine("bytes", f"{row.nbytes:,} ({units.size(row.nbytes)})")
    if row.parameters and row.parameters == row.elements:
        yield DetailLine("bits each", units.bits(8 * row.nbytes / row.parameters))


def _of_tensors(outline: Outline, path: ItemPath, side: int) -> Iterator[DetailLine]:
    """Yield what the tensors of a row are: of all where they are equal, of parts one by one."""
    branch = outline.item(path).sides[side]
    assert branch is not None
    row, inventory = branch.row, outline.inventories[side]
    parts = row.parts or ((row,) if row.shape is not None else ())
    if not parts and branch.groups:
        return
    specs = [inventory.columns.spec(index) for index in outline.tensors(path, side)]
    if not parts and specs:  # a module of state, in one row
        yield DetailLine("", "state", "head")
        yield DetailLine("role", _role(row, specs[0]))
        yield DetailLine("known", _reason(row, specs[0], inventory))
    for part in parts:
        yield DetailLine("", part.name if row.parts else "tensor", "head")
        yield from _of_part(part, specs, inventory)
    yield from _named(specs)


def _of_part(
    part: Row, specs: Sequence[TensorSpec], inventory: Inventory
) -> Iterator[DetailLine]:
    shape = units.shape(part.shape, part.stack) or "of several tensors"
    yield DetailLine("shape", shape)
    yield DetailLine("dtype", ", ".join(part.dtypes))
    spec = next((s for s in specs if s.shape == part.shape and s.role == part.role), None)
    if spec is None:
        return
    component = component_word(spec.component, spec.role, spec.path)
    yield DetailLine("role", _role(part, spec))
    yield DetailLine("known", _reason(part, spec, inventory))
    yield DetailLine("component", component)
    if part.sharding:
        yield DetailLine("sharding", part.sharding)


def _role(part: Row, spec: TensorSpec) -> str:
    job = job_of(spec.kind)
    if part.collection != "params":
        return f"{job}: state, not a parameter"
    return f"{job}: {_ROLES[job]}" if job in _ROLES else job


def _reason(part: Row, spec: TensorSpec, inventory: Inventory) -> str:
    """Return why a tensor has its role."""
    if part.alias:
        tie = next((tie for tie in inventory.ties if spec.key in tie.keys), None)
        return f"a second name, counted once{f' ({tie.by})' if tie else ''}"
    if part.collection != "params":
        return f"inferred ({spec.kind.rule})" if spec.kind.rule else "its source says so"
    if inventory.role_by == "use":
        return "by what the traced program does with it"
    rule = f"; {spec.kind.rule}" if spec.kind.rule else ""
    return f"inferred (by its name and shape{rule})"


def _named(specs: Sequence[TensorSpec]) -> Iterator[DetailLine]:
    yield DetailLine("", units.count(len(specs), "tensor"), "head")
    for spec in specs[:_SHOWN]:
        yield DetailLine("", spec.source_name, "name")
    if len(specs) > _SHOWN:
        yield DetailLine("", f"and {len(specs) - _SHOWN:,} more", "note")


def _difference(outline: Outline, path: ItemPath) -> Iterator[DetailLine]:
    item = outline.item(path)
    parameters = item.parameters(1) - item.parameters(0)
    nbytes = item.nbytes(1) - item.nbytes(0)
    yield DetailLine("", "B - A", "head")
    if not outline.differs(path):
        yield DetailLine("", "equal in both: names, shapes and formats", "note")
        return
    yield DetailLine("parameters", f"{parameters:+,}" if parameters else "as many")
    yield DetailLine("bytes", units.change(nbytes) or "as many")


def place_lines(outline: Outline, path: ItemPath, spans: "TensorSpans") -> list[DetailLine]:
    """Return where the tensors of a row are stored: files and bytes; of several, from the first to the last."""
    keys = outline.inventories[0].columns.keys
    indices = outline.tensors(path)
    found = [spans.known[keys[index]] for index in indices if keys[index] in spans.known]
    files = list(dict.fromkeys(file for file, _, _ in found)) or list(spans.sources)
    if len(files) > 1:
        names = ", ".join(os.path.basename(file) for file in files[:2])
        more = f" and {len(files) - 2:,} more" if len(files) > 2 else ""
        return [DetailLine("in files", f"{names}{more}")]
    lines = [DetailLine("in file", os.path.basename(file)) for file in files]
    if found:
        begin, end = min(b for _, b, _ in found), max(e for _, _, e in found)
        whole = sum(e - b for _, b, e in found) == end - begin
        lines.append(
            DetailLine(
                "at bytes",
                f"{begin:,} to {end:,}{'' if whole else ', with others between'}",
            )
        )
    return lines
