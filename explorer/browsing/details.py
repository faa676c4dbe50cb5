"""What the pane beside the rows says of one of them: terms, texts, and a picture of its values."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from explorer.analyses.collapse import Row
from explorer.browsing.filtering import job_of
from explorer.browsing.outline import ItemPath, Outline
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import TensorSpec
from explorer.views import units
from explorer.views.stats import magnitude_span

if TYPE_CHECKING:
    from explorer.formats.spans import TensorSpans
    from explorer.values.records import Description, Statistics

__all__ = ["DetailLine", "chart_of", "details_of", "name_at", "place_lines", "value_lines"]

_ROLES = {
    "kernel": "a weight: multiplies its input",
    "embedding": "a weight: a row for each token or position",
    "scale": "a weight: multiplies each channel",
    "bias": "added to the output",
}
_SHOWN = 4  # tensors that are named
_BARS = " ▁▂▃▄▅▆▇█"


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


def details_of(outline: Outline, path: ItemPath) -> list[DetailLine]:
    """Return what is known of a row without reading a value."""
    title = DetailLine("", name_at(outline, path) or "everything", "title")
    item = outline.item(path)
    lines = [title]
    for side, branch in enumerate(item.sides):
        if len(item.sides) > 1:
            lines.append(DetailLine("", f"{'AB'[side]}: {outline.inventories[side].target}", "head"))
        if branch is None:
            lines.append(DetailLine("", "is not there", "note"))
            continue
        lines += _of_row(branch.row, outline.inventories[side])
        lines += _of_tensors(outline, path, side)
    if len(item.sides) > 1:
        lines += _difference(item.parameters(1) - item.parameters(0), item.nbytes(1) - item.nbytes(0))
    return lines


def _of_row(row: Row, inventory: Inventory) -> Iterator[DetailLine]:
    share = units.share(row.parameters, inventory.num_parameters)
    yield DetailLine("parameters", f"{row.parameters:,} ({share} of all)")
    if row.biases and row.weights:
        yield DetailLine("", f"{units.count(row.weights, 'weight')}, {units.count(row.biases, 'bias', 'biases')}")
    if row.elements > row.parameters:
        yield DetailLine("state", f"{units.count(row.elements - row.parameters, 'element')} that training does not change")
    bits = f", {8 * row.nbytes / row.parameters:.2f} bits each" if row.parameters == row.elements else ""
    yield DetailLine("bytes", f"{row.nbytes:,} ({units.size(row.nbytes)}{bits if row.parameters else ''})")


def _of_tensors(outline: Outline, path: ItemPath, side: int) -> Iterator[DetailLine]:
    """Yield what the tensors of a row are: of all where they are equal, of parts one by one."""
    branch = outline.item(path).sides[side]
    assert branch is not None
    row, inventory = branch.row, outline.inventories[side]
    parts = row.parts or ((row,) if row.shape is not None else ())
    if not parts:
        yield DetailLine("tensors", f"{row.tensors:,}")
        return
    indices = outline.tensors(path, side)
    specs = [inventory.columns.spec(index) for index in indices]
    for part in parts:
        if len(parts) > 1:
            yield DetailLine("", part.name, "head")
        yield from _of_part(part, specs, inventory)
    yield from _named(specs)


def _of_part(part: Row, specs: Sequence[TensorSpec], inventory: Inventory) -> Iterator[DetailLine]:
    yield DetailLine("shape", units.shape(part.shape, part.stack) or "of several tensors")
    yield DetailLine("dtype", ", ".join(part.dtypes))
    spec = next((s for s in specs if s.shape == part.shape and s.role == part.role), None)
    if spec is None:
        return
    yield DetailLine("role", _role(part, spec))
    yield DetailLine("known", _reason(part, spec, inventory))
    yield DetailLine("component", units.component(spec.component, spec.role, spec.name))
    if part.sharding:
        yield DetailLine("sharding", part.sharding)


def _role(part: Row, spec: TensorSpec) -> str:
    job = job_of(spec.kind)
    if part.collection != "params":
        return f"{job}: state, not a parameter"
    return f"{job}, {_ROLES[job]}" if job in _ROLES else job


def _reason(part: Row, spec: TensorSpec, inventory: Inventory) -> str:
    """Return why a tensor has its role."""
    if part.alias:
        tie = next((tie for tie in inventory.ties if spec.key in tie.keys), None)
        return f"a second name, counted once ({tie.by})" if tie else "a second name, counted once"
    if part.collection != "params":
        return f"inferred ({spec.kind.rule})" if spec.kind.rule else "its source says so"
    if inventory.role_by == "use":
        return "by what the traced program does with it"
    last = spec.name.rpartition("/")[2]
    rule = f"; {spec.kind.rule}" if spec.kind.rule else ""
    return f"inferred (by its name, “{last}”, and its shape{rule})"


def _named(specs: Sequence[TensorSpec]) -> Iterator[DetailLine]:
    title = units.count(len(specs), "tensor")
    yield DetailLine("", title, "head")
    for spec in specs[:_SHOWN]:
        yield DetailLine("", spec.source_name, "name")
    if len(specs) > _SHOWN:
        yield DetailLine("", f"and {len(specs) - _SHOWN:,} more", "note")


def _difference(parameters: int, nbytes: int) -> Iterator[DetailLine]:
    yield DetailLine("", "B - A", "head")
    yield DetailLine("parameters", f"{parameters:+,}" if parameters else "as many")
    yield DetailLine("bytes", units.change(nbytes) or "as many")


def place_lines(outline: Outline, path: ItemPath, spans: "TensorSpans") -> list[DetailLine]:
    """Return where the tensors of a row lie: files and bytes; of several, from the first to the last."""
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
        lines.append(DetailLine("at bytes", f"{begin:,} to {end:,}{'' if whole else ', with others between'}"))
    return lines


def value_lines(found: "Description", width: int) -> list[DetailLine]:
    """Return what the numbers of tensors look like, with a picture of their magnitudes.

    Args:
        found: statistics of all of them.
        width: cells of a line.
    """
    total = found.totals if found.totals.count else _of_state(found)
    lines = [DetailLine("", f"values of {units.count(len(found.tensors), 'tensor')}", "head")]
    if total is None:
        return lines
    wrong = f"{total.nan:,} NaN, {total.inf:,} infinite" if total.nan or total.inf else "all finite"
    lines.append(DetailLine("numbers", f"{total.count:,}, {wrong}"))
    if total.mean is not None and total.std is not None:
        lines.append(DetailLine("mean", f"{total.mean:.4g}, std {total.std:.4g}"))
        lines.append(DetailLine("range", f"{total.min:.4g} to {total.max:.4g}"))
    lines.append(DetailLine("zeros", f"{total.zeros:,} ({units.share(total.zeros, total.count)})"))
    if {"1", "50", "99"} <= total.quantiles.keys():
        low, middle, high = (total.quantiles[share] for share in ("1", "50", "99"))
        lines.append(DetailLine("1, 50, 99%", f"{low:.3g}, {middle:.3g}, {high:.3g}"))
    return [*lines, *(DetailLine("", line, "picture") for line in chart_of(total.histogram, width))]


def _of_state(found: "Description") -> "Statistics | None":
    """Return the statistics of tensors that are not parameters, where there is one."""
    return found.tensors[0].statistics if len(found.tensors) == 1 else None


def chart_of(histogram: dict[int, int], width: int, height: int = 4) -> list[str]:
    """Return bars of magnitudes, the smallest on the left, and a line of what they are.

    Args:
        histogram: elements by the exponent of their magnitude.
        width: cells; a bar takes one or more.
        height: lines of the bars.

    >>> chart_of({-3: 2, -2: 4, -1: 1}, 6, 1)
    ['▄▄██▂▂', '2^-3 to 2^0']
    """
    span = magnitude_span([histogram])
    if span is None:
        return []
    low, high = span
    bins = min(high - low + 1, width)
    counts = [0] * bins
    for exponent, number in histogram.items():
        counts[(min(max(exponent, low), high) - low) * bins // (high - low + 1)] += number
    cells, most = max(1, min(3, width // bins)), max(counts)
    # what is there is seen, however little
    heights = [max(round(8 * height * n / most), n > 0) for n in counts]
    lines = [
        "".join(_BARS[min(max(each - 8 * level, 0), 8)] * cells for each in heights)
        for level in reversed(range(height))
    ]
    return [*lines, f"2^{low} to 2^{high + 1}"]
