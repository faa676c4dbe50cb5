"""The axis "sequence" of a mesh: each sequence of a batch divided over devices, in training."""

from explorer.architectures.architecture import Architecture
from explorer.architectures.attention_specs import AttentionSpec
from explorer.errors import InputError
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Workload
from explorer.sizing.subject import Subject

__all__ = ["check_sequence", "gathered_bytes"]


def check_sequence(subject: Subject, workload: Workload, placement: Placement) -> None:
    """Refuse an axis "sequence" that divides no activations.

    Args:
        subject: the model.
        workload: with its context.
        placement: the mesh.

    Raises:
        InputError: nothing is trained, the activations are not known, or have positions that
            the axis does not divide.
    """
    parts = placement.size("sequence")
    if parts == 1:
        return
    found = f"sequence={parts}"
    architecture = subject.architecture
    if not workload.train:
        raise InputError(
            "mesh",
            found=f"{found} divides nothing of inference",
            expected="the axes data, tensor and expert",
            cure="to train: add --train",
        )
    if architecture is None:
        raise InputError(
            "mesh",
            found=f"{found}, and the activations of {subject.name} are not known",
            expected="other axes, or a model whose architecture is known",
        )
    if architecture.patch_embed is not None:
        raise InputError(
            "mesh",
            found=f"{found}, and {subject.name} takes images",
            expected="other axes: the patches of an image and its class token stay together",
        )
    if workload.context is not None and workload.context % parts:
        raise InputError(
            "mesh",
            found=f"{found} does not divide {workload.context:,} tokens",
            expected="a divisor of --context",
        )


def gathered_bytes(architecture: Architecture, tokens: int, element: int) -> int:
    """Return the bytes of the keys and values of one layer, those of whole sequences.

    Each device attends from its own positions to all: what they attend to is brought together,
    a layer at a time.

    Args:
        architecture: the model; its largest layer counts.
        tokens: of whole sequences, on one device.
        element: bytes of one number.

    >>> from explorer.architectures.resolve import resolve
    >>> gathered_bytes(resolve("llama-3.1-8b").architecture, 4096, 2) == 4096 * 2 * 8 * 128 * 2
    True
    """
    widths = [0]
    for block in architecture.blocks():
        attention = block.attention
        if isinstance(attention, AttentionSpec):
            widths.append(2 * attention.kv_heads * attention.head_size)
        else:
            keys = attention.nope + attention.rope.size
            widths.append(attention.heads * (keys + attention.value_size))
    return tokens * max(widths) * element
