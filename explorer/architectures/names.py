"""How checkpoints name and lay out a model's tensors, and back.

A row maps one stored tensor, or one an expert, to the leaves that it holds. Rows of a
layer are written once for all layers.
"""

from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from explorer.architectures.architecture import Architecture, Block
from explorer.architectures.declare import declare_whole, layer_name, leaves_of
from explorer.architectures.forms import KEEP, TRANSPOSED, Form

__all__ = [
    "KEEP",
    "TRANSPOSED",
    "Form",
    "Names",
    "Row",
    "Stored",
    "count_stored",
    "each_stored",
    "linear",
    "row",
    "spare_tensors",
    "spelled_bare",
    "stored_tensors",
]

Shape = tuple[int, ...]
Path = tuple[str, ...]


class Row(msgspec.Struct, frozen=True):
    """A stored name, with "{e}" where there is one an expert, and the leaves it holds.

    Leaves are paths joined by "/", from the layer for the rows of a layer.
    """

    stored: str
    leaves: tuple[str, ...]
    form: Form = KEEP


def row(stored: str, *leaves: str, form: Form = KEEP) -> Row:
    """Return a row.

    >>> row("ln_f.weight", "final_norm/scale").leaves
    ('final_norm/scale',)
    """
    return Row(stored, leaves, form)


def linear(stored: str, flax: str) -> tuple[Row, Row]:
    """Return the rows of a PyTorch linear layer [outputs, inputs] and its bias.

    >>> [each.leaves for each in linear("lm_head", "lm_head")]
    [('lm_head/kernel',), ('lm_head/bias',)]
    """
    return (
        row(f"{stored}.weight", f"{flax}/kernel", form=TRANSPOSED),
        row(f"{stored}.bias", f"{flax}/bias"),
    )


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The names of one family's checkpoints.

    `layer` is the prefix of a layer, "{i}" its number. `base` is the prefix that a model
    with a head puts before its body, and a bare body leaves out. A row whose leaves a model
    does not have is skipped. Where two rows hold the same leaves, the first is
    written and either is read. `spare` are further names of leaves (a tied head), laid out
    as under the first: allowed, never needed, and of the same values.
    """

    base: str
    layer: str
    whole: tuple[Row, ...]
    layers: tuple[Row, ...]
    spare: tuple[Row, ...] = ()


class Stored(NamedTuple):
    """One stored tensor: its shape, the leaves it holds, and of which expert."""

    shape: Shape
    leaves: tuple[tuple[str, ...], ...]
    form: Form
    expert: int | None = None


class _Alike(NamedTuple):
    """One stored tensor; or one for each of `experts`, where the name has an "{e}"."""

    name: str
    stored: Stored
    experts: int

    def each(self) -> Iterator[tuple[str, Stored]]:
        """Yield every tensor with its name."""
        if not self.experts:
            yield self.name, self.stored
            return
        before, after = self.name.split("{e}")
        for expert in range(self.experts):
            yield f"{before}{expert}{after}", self.stored._replace(expert=expert)


class _Fitting(NamedTuple):
    """A row whose leaves a body or a block has, and their shapes."""

    row: Row
    paths: tuple[Path, ...]
    shapes: tuple[Shape, ...]


def stored_tensors(
    architecture: Architecture,
    names: Names,
    bare: bool = False,
    present: Container[str] | None = None,
) -> dict[str, Stored]:
    """Return the tensors that a checkpoint of an architecture holds, by stored name.

    Args:
        architecture: the model.
        names: its family's names.
        bare: whether names lack the family's base prefix, as those of a bare body do.
        present: names that a checkpoint has, which choose among ways to store a leaf.

    The second names of tied tensors are not among them: see `spare_tensors`.
    """
    return dict(each_stored(architecture, names, bare, present))


def each_stored(
    architecture: Architecture,
    names: Names,
    bare: bool = False,
    present: Container[str] | None = None,
) -> Iterator[tuple[str, Stored]]:
    """Yield the tensors of `stored_tensors` one by one, so that few of many can be had."""
    blocks = enumerate(architecture.blocks())
    for alike in _all_alike(architecture, names, bare, present, blocks):
        yield from alike.each()


def count_stored(
    architecture: Architecture,
    names: Names,
    bare: bool = False,
    present: Container[str] | None = None,
) -> int:
    """Return how many tensors `stored_tensors` has; experts are counted, not listed."""
    blocks = enumerate(architecture.blocks())
    every = _all_alike(architecture, names, bare, present, blocks)
    return sum(alike.experts or 1 for alike in every)


def spelled_bare(
    architecture: Architecture, names: Names, present: Container[str], natural: bool
) -> bool:
    """Say whether the names that a checkpoint has lack the family's base prefix.

    The body and the first layer tell, with the first of its experts; where they do not, a
    model's `natural` spelling.
    """
    first = list(islice(enumerate(architecture.blocks()), 1))

    def fitting(bare: bool) -> tuple[int, bool]:
        every = _all_alike(architecture, names, bare, present, first)
        return sum(next(alike.each())[0] in present for alike in every), bare == natural

    return max((False, True), key=fitting)


def spare_tensors(
    architecture: Architecture, names: Names, bare: bool = False
) -> dict[str, Stored]:
    """Return the tensors that a checkpoint may hold a second time, by stored name."""
    whole = {leaf.path: leaf.shape for leaf in declare_whole(architecture)}
    strip = names.base if bare else ""
    return {
        name: stored
        for each in names.spare  # one at a time: they share leaves
        for alike in _alike(_fitting((each,), whole), "", (), strip, None)
        for name, stored in alike.each()
    }


def _all_alike(
    architecture: Architecture,
    names: Names,
    bare: bool,
    present: Container[str] | None,
    blocks: Iterable[tuple[int, Block]],
) -> Iterator[_Alike]:
    """Yield the tensors of the body, then of some blocks, experts unlisted."""
    strip = names.base if bare else ""
    whole = {leaf.path: leaf.shape for leaf in declare_whole(architecture)}
    yield from _alike(_fitting(names.whole, whole), "", (), strip, present)
    # many layers share one block, which lives as long as the architecture
    known: dict[int, list[_Fitting]] = {}
    for index, block in blocks:
        if id(block) not in known:
            shapes = {leaf.path: leaf.shape for leaf in leaves_of(block)}
            known[id(block)] = _fitting(names.layers, shapes)
        prefix = names.layer.replace("{i}", str(index))
        yield from _alike(known[id(block)], prefix, (layer_name(index),), strip, present)


def _fitting(rows: tuple[Row, ...], shapes: dict[Path, Shape]) -> list[_Fitting]:
    """Return the rows all of whose leaves a model has."""
    apart = [(each, tuple(tuple(leaf.split("/")) for leaf in each.leaves)) for each in rows]
    return [
        _Fitting(each, paths, tuple(shapes[path] for path in paths))
        for each, paths in apart
        if all(path in shapes for path in paths)
    ]


def _alike(
    fitting: list[_Fitting],
    prefix: str,
    front: Path,
    strip: str,
    present: Container[str] | None,
) -> Iterator[_Alike]:
    """Yield what the rows of a body or of one layer store."""
    for each, name in _chosen(fitting, prefix, strip, present):
        form = each.row.form
        leaves = tuple(front + path for path in each.paths)
        if "{e}" in name:
            shape = form.shape([shape[1:] for shape in each.shapes])
            yield _Alike(name, Stored(shape, leaves, form, 0), each.shapes[0][0])
        else:
            yield _Alike(name, Stored(form.shape(each.shapes), leaves, form), 0)


def _chosen(
    fitting: list[_Fitting], prefix: str, strip: str, present: Container[str] | None
) -> list[tuple[_Fitting, str]]:
    """Return the rows to read or write, and their names: each leaf once, those present
    first."""
    named = [(each, (prefix + each.row.stored).removeprefix(strip)) for each in fitting]
    covered: set[Path] = set()
    chosen = []
    for must_be_present in (True, False) if present is not None else (False,):
        for each, name in named:
            if covered.isdisjoint(each.paths) and (
                not must_be_present
                or (present is not None and name.replace("{e}", "0") in present)
            ):
                covered.update(each.paths)
                chosen.append((each, name))
    return chosen
