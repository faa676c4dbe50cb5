"""A subject -> its memory at every point of a grid: how weights are stored, mesh, context, batch."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from explorer.errors import InputError
from explorer.sizing.cache.configs import model_of
from explorer.sizing.grid_meshes import DATA, EXPERT, TENSOR, dividing, is_placed, mesh_of
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload
from explorer.sizing.subject import Subject
from explorer.sizing.terms import Built, build, settled, varying_terms
from explorer.sizing.training.batch import image_tokens

__all__ = ["GridPoint", "PlanGrid", "StoredAs", "contexts_of", "grid_of"]

# ways to store the weights that are tried; those that a model cannot have are left out
_DTYPES = ("float32", "bfloat16")
_SCHEMES = (
    "Q8_0", "int8", "Q6_K", "Q4_K_M", "nf4", "int4:g128", "Q3_K_M", "Q2_K",
)  # fmt: skip
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_LEAST, _MOST = 9, 20  # powers of two: 512 tokens and 1,048,576
_LONGEST = 131_072  # where nothing bounds the positions
_ALONE = Placement()


class GridPoint(msgspec.Struct, frozen=True):
    """The terms of one context and one batch."""

    terms: tuple[Term, ...]


Fixed = tuple[tuple[tuple[Term, ...], ...], ...]
Table = tuple[tuple[tuple[GridPoint, ...], ...], ...]


class StoredAs(msgspec.Struct, frozen=True, kw_only=True):
    """One way to store the weights.

    Attributes:
        label: how it is called.
        settings: of `plan`: {"dtype": "float32"}, {"quantize": "Q4_K_M"}, {} as published.
        bits: of the stored weights over the parameters.
        fixed: by "expert" and "tensor", the terms that depend on neither context nor batch,
            in the plan's order; the reserve comes last, after all others.
        table: the number of the table of those that do.
    """

    label: str
    settings: dict[str, str]
    bits: float
    fixed: Fixed
    table: int


class PlanGrid(msgspec.Struct, frozen=True, kw_only=True):
    """Memory for inference on each device, at every point of a grid: as `plan` gives there.

    Over several devices "tensor" divides parameters, the cache and the activations, "expert"
    the experts of mixtures, "data" sequences alone: `batches` are those of each part of it.

    Attributes:
        tensor, data, expert: sizes of these axes that divide something; 1 alone where tensors
            are very many, or where nothing says what the layers are.
        contexts: tokens of one sequence; empty where memory does not depend on them.
        batches: sequences at a time.
        context: the one that `plan` takes unasked.
        stored: the ways to store the weights, the most bits first.
        of_several: the reserve of one device where "data" alone makes several of one; that of
            one where it does not.
        tables: by "tensor", context, then batch: each way to store the weights names its own.
        left_out: what the figures leave out.
    """

    tensor: tuple[int, ...]
    data: tuple[int, ...]
    expert: tuple[int, ...]
    contexts: tuple[int, ...]
    batches: tuple[int, ...]
    context: int | None
    stored: tuple[StoredAs, ...]
    of_several: Term
    tables: tuple[Table, ...]
    left_out: tuple[str, ...]

    def terms(
        self, stored: int, tensor: int, data: int, expert: int, context: int, batch: int
    ) -> tuple[Term, ...]:
        """Return the terms of one device at a point, each given by its index; as a plan has them.

        >>> from explorer.api.plans import subject_of
        >>> grid = grid_of(subject_of("gpt2", ()))
        >>> sum(term.bytes for term in grid.terms(0, 0, 0, 0, 0, 0))
        1099318596
        """
        way = self.stored[stored]
        *before, reserve = way.fixed[expert][tensor]
        if data and not tensor and not expert:
            reserve = self.of_several
        point = self.tables[way.table][tensor][context][batch]
        return (*before, *point.terms, reserve)


def grid_of(subject: Subject) -> PlanGrid:
    """Return the memory of a subject for inference, at every point of a grid.

    Args:
        subject: the model.

    Raises:
        InputError: nothing can be planned of it.
    """
    first = build(subject, settled(subject, Workload()), _ALONE)
    context = settled(subject, Workload()).context if first.model is not None else None
    contexts = contexts_of(subject, context)
    tensor, data, expert = (1,), (1,), (1,)
    if is_placed(subject):
        tensor, data = dividing(subject, "tensor", TENSOR), DATA
        expert = dividing(subject, "expert", EXPERT)
    ways, tables = [], []
    for label, settings in _ways(subject, first):
        try:
            built = build(subject, settled(subject, Workload(**settings)), _ALONE)
        except InputError:
            if not settings:
                raise
            continue  # a scheme that this model cannot have is not offered
        table = tuple(_table(subject, built, settings, contexts, size) for size in tensor)
        if table not in tables:
            tables.append(table)
        fixed, number = _fixed(subject, settings, expert, tensor), tables.index(table)
        bits = _bits(subject, built)
        ways.append(
            StoredAs(label=label, settings=settings, bits=bits, fixed=fixed, table=number)
        )
    return PlanGrid(
        tensor=tensor,
        data=data,
        expert=expert,
        contexts=contexts,
        batches=_BATCHES if contexts else (1,),
        context=context,
        stored=tuple(sorted(ways, key=lambda way: -way.bits)),
        of_several=_fixed_at(subject, {}, mesh_of(data=data[:2][-1]))[-1],
        tables=tuple(tables),
        left_out=first.not_modelled,
    )


def _ways(subject: Subject, first: Built) -> list[tuple[str, dict[str, Any]]]:
    """Return the ways to store weights: as they are, as a dtype, under a scheme."""
    kinds = first.weights.by_type
    most = max(kinds, key=lambda name: kinds[name].elements, default="")
    own = "published" if subject.inventory.is_declared else "stored"
    return [
        (f"{most}, as {own}" if most else f"as {own}", {}),
        *((name, {"dtype": name}) for name in _DTYPES if name != most),
        *((name, {"quantize": name}) for name in _SCHEMES),
    ]


def contexts_of(subject: Subject, context: int | None) -> tuple[int, ...]:
    """Return powers of two up to the positions of a model, these, and a context; or nothing."""
    if context is None:
        return ()
    if image_tokens(subject.architecture):
        return (context,)
    positions = getattr(model_of(subject), "positions", None)
    most = min(positions or _LONGEST, 1 << _MOST)
    powers = [1 << power for power in range(_LEAST, _MOST + 1) if 1 << power <= most]
    return tuple(sorted({*powers, context, most}))


def _fixed(
    subject: Subject, settings: dict[str, Any], expert: Sequence[int], tensor: Sequence[int]
) -> Fixed:
    """Return what depends on neither context nor batch, on each device of every mesh."""
    return tuple(
        tuple(
            _fixed_at(subject, settings, mesh_of(tensor=size, expert=parts))
            for size in tensor
        )
        for parts in expert
    )


def _fixed_at(
    subject: Subject, settings: dict[str, Any], mesh: dict[str, int]
) -> tuple[Term, ...]:
    workload = settled(subject, Workload(**settings))
    terms = build(subject, workload, Placement(mesh=mesh)).fixed
    return tuple(term.of_each() for term in terms)


def _table(
    subject: Subject,
    built: Built,
    settings: dict[str, Any],
    contexts: Sequence[int],
    tensor: int,
) -> tuple[tuple[GridPoint, ...], ...]:
    """Return the terms of one device along "tensor" that vary, by context and by batch."""
    base = settled(subject, Workload(**settings))
    placement = Placement(mesh=mesh_of(tensor=tensor))

    def point(context: int | None, batch: int) -> GridPoint:
        workload = replace(base, context=context, batch=batch)
        terms = varying_terms(subject, built.model, workload, placement)
        return GridPoint(tuple(term.of_each() for term in terms))

    if not contexts:
        return ((point(base.context, 1),),)
    return tuple(tuple(point(context, batch) for batch in _BATCHES) for context in contexts)


def _bits(subject: Subject, built: Built) -> float:
    parameters = subject.inventory.num_parameters
    return 8 * built.weights.bytes / parameters if parameters else 0.0
