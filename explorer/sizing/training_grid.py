"""A subject -> what training it needs on each device: precision, optimizer, mesh, context, batch."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from explorer.errors import InputError
from explorer.sizing.grid import GridPoint, contexts_of
from explorer.sizing.grid_meshes import DATA, FSDP, TENSOR, dividing, is_placed, mesh_of
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload
from explorer.sizing.subject import Subject
from explorer.sizing.terms import build, settled, varying_terms

__all__ = ["Precision", "TrainingGrid", "training_grid_of"]

_OPTIMIZERS = ("adamw", "adamw8bit", "lion", "adafactor", "sgd")
_PRECISIONS: tuple[tuple[str, dict[str, str]], ...] = (
    ("float32, computed in bfloat16", {}),
    ("float32", {"compute_dtype": "float32"}),
    ("bfloat16, masters in float32", {"dtype": "bfloat16", "master": "float32"}),
    ("bfloat16", {"dtype": "bfloat16"}),
)
_REMATS = ("none", "full")
_MOST_KINDS = 2000  # shapes and formats for which every optimizer is tried
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_ALONE = Placement()


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """In which dtypes a model is trained.

    Attributes:
        label: how it is called.
        settings: of `plan`, beside `train`: {"dtype": "bfloat16"}; {} for what it takes unasked.
        tables: the number of the table of activations, for each way to remat.
    """

    label: str
    settings: dict[str, str]
    tables: tuple[int, ...]


class TrainingGrid(msgspec.Struct, frozen=True, kw_only=True):
    """Memory for training on each device, at every point of a grid: as `plan` gives there.

    Over several devices the axes "fsdp" and "tensor" divide parameters, gradients and
    optimizer by the rules of training, "tensor" the activations too; "data" divides batches
    alone. `batches` are the sequences of each device along "data" and "fsdp".

    Attributes:
        precisions: dtypes of parameters, masters and activations.
        optimizers: by name; one alone where shapes are very many.
        remats: what is computed again in the backward pass.
        fsdp, tensor, data: sizes of these axes; one alone where tensors are very many, or
            where nothing says what the layers are. "tensor" has those that divide something.
        contexts: tokens of one sequence; empty where nothing says what the layers are.
        batches: sequences at a time on each device.
        context: the one that `plan` takes unasked.
        fixed: by precision, optimizer, "fsdp" and "tensor", the terms that depend on nothing else.
        of_several: the last of them where "data" alone makes several devices of one; that of
            one where it does not.
        tables: by "tensor", then context, then batch: activations and logits.
        left_out: what the figures leave out.
    """

    precisions: tuple[Precision, ...]
    optimizers: tuple[str, ...]
    remats: tuple[str, ...]
    fsdp: tuple[int, ...]
    tensor: tuple[int, ...]
    data: tuple[int, ...]
    contexts: tuple[int, ...]
    batches: tuple[int, ...]
    context: int | None
    fixed: tuple[tuple[tuple[tuple[tuple[Term, ...], ...], ...], ...], ...]
    of_several: Term
    tables: tuple[tuple[tuple[tuple[GridPoint, ...], ...], ...], ...]
    left_out: tuple[str, ...]

    def terms(
        self,
        precision: int,
        optimizer: int,
        remat: int,
        fsdp: int,
        tensor: int,
        data: int,
        context: int,
        batch: int,
    ) -> tuple[Term, ...]:
        """Return the terms of one device at a point, each given by its index.

        >>> from explorer.api.plans import subject_of
        >>> grid = training_grid_of(subject_of("gpt2", ()))
        >>> [(each.name, each.bytes) for each in grid.terms(0, 0, 0, 0, 0, 0, 0, 0)][:2]
        [('parameters', 497759232), ('gradients', 497759232)]
        """
        *before, reserve = self.fixed[precision][optimizer][fsdp][tensor]
        if data and not fsdp and not tensor:
            reserve = self.of_several
        table = self.tables[self.precisions[precision].tables[remat]][tensor]
        return (*before, *table[context][batch].terms, reserve)


def training_grid_of(subject: Subject) -> TrainingGrid:
    """Return the memory of a subject in training, at every point of a grid.

    Args:
        subject: the model.

    Raises:
        InputError: its training cannot be planned.
    """
    first = build(subject, settled(subject, Workload(train=True)), _ALONE)
    if not first.trainable:
        raise InputError(subject.name, found="has no parameters", expected="some to train")
    known = subject.architecture is not None
    context = settled(subject, Workload(train=True)).context if known else None
    contexts = contexts_of(subject, context)
    fsdp, tensor, data = (1,), (1,), (1,)
    if is_placed(subject):
        fsdp, tensor, data = FSDP, dividing(subject, "tensor", TENSOR), DATA
    is_small = len(subject.inventory.kinds) <= _MOST_KINDS
    optimizers = _OPTIMIZERS if is_small else _OPTIMIZERS[:1]
    tables: list[tuple[tuple[tuple[GridPoint, ...], ...], ...]] = []
    precisions, fixed = [], []
    for label, settings in _PRECISIONS:
        places = []
        for remat in _REMATS:
            varied = settings | {"remat": remat}
            table = tuple(_table(subject, varied, contexts, size) for size in tensor)
            if table not in tables:
                tables.append(table)
            places.append(tables.index(table))
        precisions.append(Precision(label=label, settings=settings, tables=tuple(places)))
        fixed.append(
            tuple(_fixed(subject, settings, name, fsdp, tensor) for name in optimizers)
        )
    return TrainingGrid(
        precisions=tuple(precisions),
        optimizers=optimizers,
        remats=_REMATS if contexts else _REMATS[:1],
        fsdp=fsdp,
        tensor=tensor,
        data=data,
        contexts=contexts,
        batches=_BATCHES if contexts else (1,),
        context=context,
        fixed=tuple(fixed),
        of_several=_fixed_at(subject, {}, optimizers[0], mesh_of(data=data[:2][-1]))[-1],
        tables=tuple(tables),
        left_out=first.not_modelled,
    )


def _workload(subject: Subject, settings: dict[str, Any]) -> Workload:
    return settled(subject, Workload(train=True, **settings))


def _fixed(
    subject: Subject,
    settings: dict[str, Any],
    optimizer: str,
    fsdp: Sequence[int],
    tensor: Sequence[int],
) -> tuple[tuple[tuple[Term, ...], ...], ...]:
    """Return what does not depend on context and batch, on each device of every mesh."""
    return tuple(
        tuple(
            _fixed_at(subject, settings, optimizer, mesh_of(fsdp=many, tensor=size))
            for size in tensor
        )
        for many in fsdp
    )


def _fixed_at(
    subject: Subject, settings: dict[str, Any], optimizer: str, mesh: dict[str, int]
) -> tuple[Term, ...]:
    workload = _workload(subject, settings | {"optimizer": optimizer})
    terms = build(subject, workload, Placement(mesh=mesh)).fixed
    return tuple(term.of_each() for term in terms)


def _table(
    subject: Subject, settings: dict[str, Any], contexts: Sequence[int], tensor: int
) -> tuple[tuple[GridPoint, ...], ...]:
    """Return activations and logits of one device along "tensor", by context and by batch."""
    base = _workload(subject, settings)
    if not contexts:
        return ((GridPoint(()),),)

    def point(context: int, batch: int) -> GridPoint:
        workload = replace(base, context=context, batch=batch)
        terms = varying_terms(subject, None, workload, placement)
        return GridPoint(tuple(term.of_each() for term in terms))

    placement = Placement(mesh=mesh_of(tensor=tensor))
    return tuple(tuple(point(context, batch) for batch in _BATCHES) for context in contexts)
