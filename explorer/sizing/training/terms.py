"""A subject and a workload -> what is trained of it, and what the terms leave out."""

from msgspec.structs import replace

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.errors import InputError
from explorer.sizing.records import Term
from explorer.sizing.settings import Workload
from explorer.sizing.subject import Subject
from explorer.sizing.training.lora import adapter_parameters

__all__ = [
    "adapters_of",
    "architecture_of",
    "trainable_parameters",
    "training_notes",
    "with_adapters",
]


def trainable_parameters(subject: Subject, workload: Workload) -> int:
    """Return how many parameters a workload trains: none, all, or those of adapters.

    Adapters come with copies of the modules that are trained whole, as peft counts them.

    Raises:
        InputError: adapters for a model without an architecture, or targets it does not have.
    """
    if workload.lora is not None:
        return adapter_parameters(architecture_of(subject), workload.lora)
    return subject.inventory.num_parameters if workload.train else 0


def adapters_of(subject: Subject, workload: Workload) -> int:
    """Return the bytes of the adapters themselves; 0 without adapters."""
    if workload.lora is None:
        return 0
    trained = trainable_parameters(subject, workload)
    return dtypes.find(workload.lora.dtype).nbytes(trained)


def architecture_of(subject: Subject) -> Architecture:
    """Return the architecture that adapters are given to.

    Raises:
        InputError: nothing says what the layers are.
    """
    if subject.architecture is None:
        raise InputError(
            subject.name,
            found="has no architecture whose layers adapters could be given to",
            expected="a name of `explorer catalog`, a config.json, or a folder with one",
        )
    return subject.architecture


def training_notes(subject: Subject, workload: Workload) -> tuple[str, ...]:
    """Return what the terms of training leave out, or cannot say."""
    if subject.architecture is None:
        return ("activations and logits: nothing says what the layers of this target are",)
    notes = ["dropout masks, the batch itself, and what a data loader keeps"]
    if workload.lora is not None and workload.quantize is not None:
        notes.append("one layer's weights at a time, dequantised to be multiplied")
    return tuple(notes)


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
