"""A subject and a workload -> what training needs beside the weights."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.errors import InputError
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.meshes.slots import copy_on_fullest, slots_on_fullest
from explorer.sizing.records import Term, Workload
from explorer.sizing.subject import Subject
from explorer.sizing.training.activations import activation_range
from explorer.sizing.training.lora import adapted_matrices, adapter_parameters
from explorer.sizing.training.slots import Slots, measured_slots, named_slots

__all__ = [
    "adapters_of",
    "batch_terms",
    "state_terms",
    "trainable_parameters",
    "training_notes",
    "with_adapters",
]

ONE_DEVICE = Placement()


def trainable_parameters(subject: Subject, workload: Workload) -> int:
    """Return how many parameters a workload trains: none, all, or those of adapters.

    Raises:
        InputError: adapters for a model without an architecture, or targets it does not have.
    """
    if workload.lora is not None:
        return adapter_parameters(_architecture(subject), workload.lora)
    return subject.inventory.num_parameters if workload.train else 0


def adapters_of(subject: Subject, workload: Workload) -> int:
    """Return the bytes of the adapters themselves; 0 without adapters."""
    if workload.lora is None:
        return 0
    trained = trainable_parameters(subject, workload)
    return dtypes.find(workload.lora.dtype).nbytes(trained)


def state_terms(
    subject: Subject,
    workload: Workload,
    optimizer: Any = None,
    placement: Placement = ONE_DEVICE,
) -> list[Term]:
    """Return gradients, optimizer state and master copies.

    What training keeps for each trained parameter is in the parameter's own dtype, or in
    float32 where `master` keeps float32 copies. Frozen parameters have neither gradients nor
    optimizer state.

    Args:
        subject: the model.
        workload: with its optimizer's name and adapters.
        optimizer: an optax transformation instead of a name.
        placement: of parameters, which their slots follow; adapters are on every device.

    Raises:
        InputError: an optimizer or targets that do not exist.
    """
    trained = trainable_parameters(subject, workload)
    dtype = _trained_dtype(subject, workload)
    kept = workload.master or dtype
    size = dtypes.find(dtype).nbytes(trained)
    terms = [_gradients(trained, size, dtype, workload)]
    slots = _slots(subject, workload, optimizer, trained, kept)
    if slots.bytes or workload.lora is None:
        held = ", ".join(f"{name} {nbytes:,}" for name, nbytes in slots.by_name.items())
        note = f"{_name_of(optimizer, workload)} in {kept}: {held or 'keeps nothing'}"
        on_device = _slots_on_device(slots, subject, workload, kept, placement)
        terms.append(Term.exact("optimizer", slots.bytes, note, on_device))
    if workload.master is not None and workload.master != dtype:
        masters = dtypes.find(workload.master).nbytes(trained)
        note = f"a copy of the trained parameters in {workload.master}"
        terms.append(Term.exact("master_parameters", masters, note))
    if workload.lora is None or placement.devices == 1:
        return terms
    return [replace(term, per_device=term.bytes) for term in terms]


def _slots_on_device(
    slots: Slots, subject: Subject, workload: Workload, dtype: str, placement: Placement
) -> int | None:
    """Return what the fullest device holds of an optimizer's state; None for all of it."""
    if placement.devices == 1 or workload.lora is not None:
        return None
    if slots.leaves:
        return slots_on_fullest(slots.leaves, _shapes(subject, workload), placement)
    counters = slots.by_name.get("count", 0)
    copies = len(slots.by_name) - ("count" in slots.by_name)
    return counters + copies * copy_on_fullest(subject, placement, dtype)


def training_notes(subject: Subject) -> tuple[str, ...]:
    """Return which terms cannot be given, and why."""
    if subject.architecture is not None:
        return ("dropout masks, the batch itself, and what a data loader keeps",)
    return ("activations and logits: nothing says what the layers of this target are",)


def _architecture(subject: Subject) -> Architecture:
    if subject.architecture is None:
        raise InputError(
            subject.name,
            found="has no architecture whose layers adapters could be given to",
            expected="a name of `explorer catalog`, a config.json, or a folder with one",
        )
    return subject.architecture


def _trained_dtype(subject: Subject, workload: Workload) -> str:
    """Return the dtype of what is trained: of adapters, or of the parameters."""
    if workload.lora is not None:
        return workload.lora.dtype
    if workload.dtype is not None:
        return workload.dtype
    sizes: dict[str, int] = {}
    for kind, _, unique in subject.inventory.kinds:
        if kind.is_parameter:
            sizes[kind.dtype] = sizes.get(kind.dtype, 0) + unique * kind.size
    return max(sizes, key=sizes.__getitem__, default="float32")


def _gradients(trained: int, size: int, dtype: str, workload: Workload) -> Term:
    note = f"of {trained:,} trained parameters in {dtype}"
    if workload.accumulate > 1:
        return Term.exact("gradients", 2 * size, f"{note}, and their running sum")
    return Term.exact("gradients", size, note)


def _slots(
    subject: Subject, workload: Workload, optimizer: Any, trained: int, dtype: str
) -> Slots:
    if optimizer is None:
        found = named_slots(workload.optimizer, trained, dtype)
        if found is not None:
            return found
        from explorer.sizing.compiled.optimizers import optimizer_named

        optimizer = optimizer_named(workload.optimizer)
    return measured_slots(optimizer, _shapes(subject, workload), dtype)


def _shapes(
    subject: Subject, workload: Workload
) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Return the shapes of what is trained, by path."""
    lora = workload.lora
    if lora is not None:
        shapes = {}
        for each in adapted_matrices(_architecture(subject), lora.targets):
            path = tuple(each.name.removesuffix(".weight").split("."))
            shapes[(*path, "lora_a")] = (each.inputs, lora.rank)
            shapes[(*path, "lora_b")] = (lora.rank, each.outputs)
            if lora.dora:
                shapes[(*path, "magnitude")] = (each.outputs,)
        return shapes
    return {
        tensor.path: tensor.shape
        for tensor in subject.inventory
        if tensor.kind.is_parameter and not tensor.alias
    }


def _name_of(optimizer: Any, workload: Workload) -> str:
    return workload.optimizer if optimizer is None else "the given transformation"


def batch_terms(
    architecture: Architecture, workload: Workload, placement: Placement
) -> list[Term]:
    """Return the estimates of activations and logits of one micro-batch.

    A batch is divided over "data" and "fsdp", and raised to what they divide.
    """
    assert workload.context is not None
    batch = placement.rounded(workload.batch)
    tokens, sequence = batch * workload.context, workload.context
    shards = placement.size("data", "fsdp")
    tensor = placement.size("tensor")
    compute = workload.compute_dtype or workload.dtype or architecture.dtype
    element = max(1, int(dtypes.find(compute).bits) // 8)
    kept = activation_range(architecture, tokens, sequence, workload.remat, element)
    where = f"{batch:,} x {sequence:,} tokens in {compute}, remat {workload.remat}"
    activations = Term(
        name="activations",
        bytes=kept.best,
        low=kept.low,
        high=kept.high,
        provenance="estimated (what each block's backward pass reads)",
        note=where,
        # without sequence parallelism the inputs of norms stay whole
        per_device=-(-kept.best // (shards * tensor)),
    )
    return [activations, *_logits(architecture, tokens, shards * tensor)]


def _logits(architecture: Architecture, tokens: int, shards: int) -> list[Term]:
    head = architecture.lm_head
    vocab = head.outputs if head is not None else 0
    if architecture.tied and architecture.embed is not None:
        vocab = architecture.embed.rows
    if not vocab:
        return []
    one = 4 * tokens * vocab
    note = f"{tokens:,} x {vocab:,} in float32, and their gradient"
    return [
        Term(
            name="logits",
            bytes=2 * one,
            low=one // 2,
            high=3 * one,
            provenance="estimated (float32 logits and their gradient)",
            note=note,
            per_device=-(-2 * one // shards),
        )
    ]


def with_adapters(terms: list[Term], nbytes: int) -> list[Term]:
    """Return terms with the adapters' own bytes among the parameters."""
    if not nbytes:
        return terms
    first, *rest = terms
    note = f"{first.note}; {nbytes:,} bytes of them adapters".removeprefix("; ")
    held = None if first.per_device is None else first.per_device + nbytes
    return [
        replace(
            first,
            bytes=first.bytes + nbytes,
            low=first.low + nbytes,
            high=first.high + nbytes,
            note=note,
            per_device=held,
        ),
        *rest,
    ]
