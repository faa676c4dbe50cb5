"""What one micro-batch needs: activations and logits."""

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.meshes.sequences import gathered_bytes
from explorer.sizing.records import Term
from explorer.sizing.settings import Workload
from explorer.sizing.training.activations import activation_range

__all__ = ["batch_terms", "image_tokens"]

_GATHERED = "; keys and values of one layer gathered over sequence"


def image_tokens(architecture: Architecture | None) -> int | None:
    """Return the tokens of an image, its class token included; None for a model of text.

    >>> from explorer.architectures.resolve import resolve
    >>> image_tokens(resolve("vit-base").architecture)
    197
    """
    patches = architecture and architecture.patch_embed
    return patches.count + 1 if patches else None


def batch_terms(
    architecture: Architecture, workload: Workload, placement: Placement
) -> list[Term]:
    """Return the estimates of activations and logits of one micro-batch.

    The batch of a workload is that of all devices together: it is divided over "data" and
    "fsdp", and raised to what they divide. Over "tensor", heads, hidden features and the
    vocabulary are divided; what has the width of the model is on each device. Over "sequence"
    all of it is, but for the keys and values of the layer that is computed.
    """
    assert workload.context is not None
    image = image_tokens(architecture)
    sequence = image or workload.context
    batch = placement.rounded(workload.batch)
    tokens = batch * sequence
    shards, tensor = placement.size("data", "fsdp", "sequence"), placement.size("tensor")
    compute = workload.compute_dtype or workload.dtype or architecture.dtype
    element = max(1, int(dtypes.find(compute).bits) // 8)

    def kept(tokens: int, tensor: int) -> tuple[int, int, int]:
        return activation_range(
            architecture, tokens, sequence, workload.remat, element, tensor
        )

    low, best, high = kept(tokens, 1)
    one = "images of" if image else "x"
    parts = placement.size("sequence")
    whole = tokens * parts // shards
    gathered = gathered_bytes(architecture, whole, element) if parts > 1 else 0
    activations = Term(
        name="activations",
        bytes=best,
        low=low,
        high=high,
        provenance="estimated (what each block's backward pass reads)",
        note=f"{batch:,} {one} {sequence:,} tokens in {compute}, remat {workload.remat}, "
        f"attention fused (the high: not fused){_GATHERED if gathered else ''}",
        per_device=kept(tokens // shards, tensor)[1] + gathered,
    )
    return [activations, *_logits(architecture, tokens, shards, tensor)]


def _logits(
    architecture: Architecture, tokens: int, shards: int, tensor: int
) -> list[Term]:
    head, masked = architecture.lm_head, architecture.predictions
    vocab = head.outputs if head is not None else 0
    if masked is not None:
        vocab = masked.vocab_size
    elif architecture.tied and architecture.embed is not None:
        vocab = architecture.embed.rows
    if not vocab:
        return []
    one = 4 * tokens * vocab
    divided = shards * tensor if vocab % tensor == 0 else shards
    return [
        Term(
            name="logits",
            bytes=2 * one,
            low=one // 2,
            high=3 * one,
            provenance="estimated (float32 logits and their gradient)",
            note=f"{tokens:,} x {vocab:,} in float32, and their gradient",
            per_device=-(-2 * one // divided),
        )
    ]
