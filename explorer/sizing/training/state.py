"""What is kept for each trained parameter: gradients, optimizer state, master copies."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from explorer import dtypes
from explorer.errors import InputError
from explorer.sizing.meshes.placed import placed_parameters
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.meshes.slots import copy_on_fullest, slots_on_fullest
from explorer.sizing.records import Term
from explorer.sizing.settings import Workload
from explorer.sizing.subject import Subject
from explorer.sizing.training.lora import adapter_shapes, adapter_tensors
from explorer.sizing.training.optimizers import Tensors, depends_on_shapes, named_slots
from explorer.sizing.training.slots import measured_slots
from explorer.sizing.training.terms import architecture_of, trainable_parameters

__all__ = ["state_terms"]

ONE_DEVICE = Placement()


def state_terms(
    subject: Subject,
    workload: Workload,
    optimizer: Any = None,
    placement: Placement = ONE_DEVICE,
) -> list[Term]:
    """Return gradients, optimizer state, master copies, and the copy that is computed with.

    Gradients are in the dtype of what is trained; over several micro-batches their sum, in
    float32 at least, is kept too. Optimizer state is in that dtype, or in that of the `master`
    copies. JAX's own custom is float32 parameters, cast to bfloat16 in the loss: 4 + 4 + 8
    bytes a parameter with Adam, and no masters. ZeRO's is 2 + 2 + 12: parameters and gradients
    in 16 bits, and masters of 4 bytes beside Adam's 8. Frozen parameters have none of these.

    Args:
        subject: the model.
        workload: with its optimizer's name and adapters.
        optimizer: an optax transformation instead of a name.
        placement: of parameters, which their slots follow; adapters are on every device.

    Raises:
        InputError: an optimizer or targets that do not exist, or quantised weights that
            nothing but adapters can train.

    References:
        Rajbhandari et al. 2020, ZeRO: Memory Optimizations Toward Training Trillion
        Parameter Models, section 3.
    """
    if workload.quantize is not None and workload.lora is None:
        raise InputError(
            "quantize",
            found=f"{workload.quantize} in training, and no adapters",
            expected="weights that have gradients",
            cure="add --lora rank=16, or leave out --quantize",
        )
    trained = trainable_parameters(subject, workload)
    dtype = _trained_dtype(subject, workload)
    kept = workload.master or dtype
    terms = [_gradients(trained, dtype, workload)]
    terms.append(_optimizer(subject, workload, optimizer, kept, placement))
    if workload.master is not None and workload.master != dtype:
        masters = dtypes.find(workload.master).nbytes(trained)
        note = f"a copy of the trained parameters in {workload.master}"
        terms.append(Term.exact("master_parameters", masters, note))
    terms += _cast(subject, workload, dtype, placement)
    if workload.lora is None or placement.devices == 1:
        return terms
    return [replace(term, per_device=term.bytes) for term in terms]


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


def _gradients(trained: int, dtype: str, workload: Workload) -> Term:
    form = dtypes.find(dtype)
    note = f"of {trained:,} trained parameters in {dtype}"
    size = form.nbytes(trained)
    if workload.accumulate == 1:
        return Term.exact("gradients", size, note)
    wide = "float32" if form.bits < 32 else dtype
    total = size + dtypes.find(wide).nbytes(trained)
    return Term.exact("gradients", total, f"{note}, and their sum in {wide}")


def _cast(
    subject: Subject, workload: Workload, dtype: str, placement: Placement
) -> list[Term]:
    """Return the copy of float32 parameters in the dtype that the loss computes in."""
    compute = workload.compute_dtype or dtype
    if workload.lora is not None or dtypes.find(compute).bits >= dtypes.find(dtype).bits:
        return []
    nbytes = dtypes.find(compute).nbytes(subject.inventory.num_parameters)
    return [
        Term(
            name="workspace",
            bytes=nbytes,
            low=0,
            high=nbytes,
            provenance="estimated (a compiler may cast a layer at a time)",
            note=f"the parameters as the loss computes with them, in {compute}",
            per_device=None
            if placement.devices == 1
            else copy_on_fullest(subject, placement, compute),
        )
    ]


def _optimizer(
    subject: Subject,
    workload: Workload,
    optimizer: Any,
    dtype: str,
    placement: Placement,
) -> Term:
    spread = placement.devices > 1 and workload.lora is None
    on_device = None
    if optimizer is None:
        name = workload.optimizer
        slots = named_slots(name, _tensors(subject, workload), dtype)
        if spread:
            on_device = named_slots(name, _on_fullest(subject, placement), dtype).bytes
        stacked = ", each layer alone" if depends_on_shapes(name) else ""
        said = f"{name} in {dtype}{stacked}"
    else:
        shapes = _shapes(subject, workload)
        slots = measured_slots(optimizer, shapes, dtype)
        if spread:
            on_device = slots_on_fullest(slots.leaves, shapes, placement)
        said = f"the given transformation's own init in {dtype}"
    held = ", ".join(f"{name} {nbytes:,}" for name, nbytes in slots.by_name.items())
    return Term.exact(
        "optimizer", slots.bytes, f"{said}: {held or 'keeps nothing'}", on_device
    )


def _tensors(subject: Subject, workload: Workload) -> list[Tensors]:
    """Return what is trained, by shape."""
    if workload.lora is not None:
        architecture = architecture_of(subject)
        return [Tensors(*each) for each in adapter_tensors(architecture, workload.lora)]
    return [
        Tensors(kind.shape, unique)
        for kind, _, unique in subject.inventory.kinds
        if kind.is_parameter
    ]


def _on_fullest(subject: Subject, placement: Placement) -> list[Tensors]:
    unstacked = replace(placement, scan=False)
    return [
        Tensors(each.shape, each.copies, each.shards)
        for each in placed_parameters(subject, unstacked)
    ]


def _shapes(
    subject: Subject, workload: Workload
) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Return the shapes of what is trained, by path."""
    if workload.lora is not None:
        return adapter_shapes(architecture_of(subject), workload.lora)
    return {
        tensor.path: tensor.shape
        for tensor in subject.inventory
        if tensor.kind.is_parameter and not tensor.alias
    }
