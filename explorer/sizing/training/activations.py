"""Activations that a backward pass needs, by formula: an interval, and what it assumes.

References:
    Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models (2022):
    s b h (34 + 5 a s / h) bytes a layer in 16 bits; 34 with selective recomputation; 2 with
    full recomputation, where a layer's input alone is kept.
"""

from typing import NamedTuple

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.specs import MlpSpec

__all__ = ["ActivationRange", "activation_range", "korthikanti"]


class ActivationRange(NamedTuple):
    """Bytes: the least, the likeliest, the most."""

    low: int
    best: int
    high: int


def korthikanti(
    sequence: int,
    batch: int,
    hidden: int,
    heads: int,
    layers: int = 1,
    recompute: str = "none",
    tensor: int = 1,
) -> float:
    """Return the bytes of activations of a GPT in 16 bits, with dropout, as in the paper.

    Args:
        sequence, batch, hidden, heads, layers: s, b, h, a, L.
        recompute: "none", "selective" (attention's scores) or "full".
        tensor: devices over which tensor and sequence parallelism divide it.

    >>> korthikanti(2048, 1, 12288, 96, recompute="selective") / (2048 * 12288)
    34.0
    >>> 5 * 96 * 2048 / 12288
    80.0
    """
    tokens = sequence * batch * hidden
    if recompute == "full":
        return 2 * tokens * layers
    scores = 0.0 if recompute == "selective" else 5 * heads * sequence / hidden
    return tokens * (34 + scores) * layers / tensor


def activation_range(
    architecture: Architecture, tokens: int, sequence: int, remat: str, element: int
) -> ActivationRange:
    """Return the bytes that a forward pass keeps for the backward pass.

    Counted of each block: the inputs of its norms and matrices, queries, keys, values and what
    attention gives, the halves of a gate and their product. The least is without a copy of the
    normed inputs and of the product; the most holds the softmax of every head in float32 too,
    which a fused attention never does, and twice the gates.

    Args:
        architecture: the model.
        tokens: of one micro-batch on one device.
        sequence: tokens of one sequence.
        remat: "none", "selective" (a dot's results are kept) or "full" (a block's input is).
        element: bytes of one activation.
    """
    blocks = list(architecture.blocks())
    size = architecture.size
    if remat == "full":
        inputs = len(blocks) * size * element * tokens
        largest = max(
            (_block(b, size, tokens, sequence, element) for b in blocks), default=_NONE
        )
        return ActivationRange(inputs, inputs + largest.best, inputs + largest.high)
    found = [_block(block, size, tokens, sequence, element) for block in blocks]
    low, best, high = (sum(each[i] for each in found) for i in range(3))
    if remat == "selective":
        # results of matrix products stay: queries, keys, values, outputs, gates
        return ActivationRange(low // 2, low, best)
    return ActivationRange(low, best, high)


_NONE = ActivationRange(0, 0, 0)


def _block(
    block: BlockSpec, size: int, tokens: int, sequence: int, element: int
) -> ActivationRange:
    attention = block.attention
    if isinstance(attention, AttentionSpec):
        heads = attention.heads
        width = 2 * (heads + attention.kv_heads) * attention.head_size
    else:
        heads = attention.heads
        width = heads * (
            2 * (attention.nope + attention.rope.size) + 2 * attention.value_size
        )
    inner = _inner(block)
    gates = 3 if _is_gated(block) else 2
    low = (2 * size + width + gates * inner) * element
    best = (4 * size + width + (gates + 1) * inner) * element
    reach = min(sequence, getattr(attention, "window", None) or sequence)
    scores = heads * reach * (4 + 2 * element)
    high = (6 * size + 2 * width + 2 * (gates + 1) * inner) * element + scores
    return ActivationRange(low * tokens, best * tokens, high * tokens)


def _mlps(block: BlockSpec) -> list[tuple[MlpSpec, int]]:
    """Return the feed-forward networks that one token passes, with how many of each."""
    if block.moe is None:
        return [(block.mlp, 1)] if block.mlp else []
    found = [(block.moe.experts, block.moe.router.per_token)]
    if block.moe.shared_experts is not None:
        found.append((block.moe.shared_experts, 1))
    return found


def _inner(block: BlockSpec) -> int:
    return sum(mlp.up_proj.outputs * number for mlp, number in _mlps(block))


def _is_gated(block: BlockSpec) -> bool:
    return any(mlp.gate_proj is not None for mlp, _ in _mlps(block))
