"""Activations that a backward pass needs, by formula: an interval, and what it assumes.

References:
    Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models (2022):
    s b h (34 + 5 a s / h) bytes a layer in 16 bits; 34 with selective recomputation; 2 with
    full recomputation, where a layer's input alone is kept. Tensor parallelism divides all but
    10 of the 34; with sequence parallelism, all.
    stas00/ml-engineering, training/performance (2025): copies of the hidden state a layer, as
    measured with fused attention in bfloat16; the likeliest figures are within 6% of them.
"""

from typing import NamedTuple

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import AttentionSpec, LatentAttentionSpec
from explorer.architectures.specs import MlpSpec, NormSpec

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
    *,
    recompute: str = "none",
    tensor: int = 1,
    sequence_parallel: bool = True,
    kv_heads: int | None = None,
) -> float:
    """Return the bytes of activations of a GPT in 16 bits, with dropout, as in the paper.

    Args:
        sequence, batch, hidden, heads, layers: s, b, h, a, L.
        recompute: "none", "selective" (attention's scores) or "full".
        tensor: devices over which tensor parallelism divides what heads and MLPs compute.
        sequence_parallel: whether those divide the rest of a layer too.
        kv_heads: heads of keys and values, where they are fewer: of 34, 4 are theirs.

    >>> korthikanti(2048, 1, 12288, 96, recompute="selective") / (2048 * 12288)
    34.0
    >>> korthikanti(2048, 1, 12288, 96, tensor=8, sequence_parallel=False) / (2048 * 12288)
    23.0
    """
    tokens = sequence * batch * hidden
    if recompute == "full":
        return 2 * tokens * layers
    scores = 0.0 if recompute == "selective" else 5 * heads * sequence / hidden
    divided = 20 + 4 * (kv_heads or heads) / heads + scores
    whole = 10 / tensor if sequence_parallel else 10
    return tokens * (whole + divided / tensor) * layers


def activation_range(
    architecture: Architecture,
    tokens: int,
    sequence: int,
    remat: str,
    element: int,
    tensor: int = 1,
) -> ActivationRange:
    """Return the bytes that a forward pass keeps for the backward pass.

    Counted of each block: what norms read (RMS norms in float32) and give, queries, keys, values
    and what attention gives, the halves of a gate, its activation and their product, and three
    more of the model's width. Attention is fused in the likeliest figure, so that no score is
    kept. The least has nothing that could be computed again at once. The most holds what XLA
    keeps of attention that is not fused: scores and their softmax in float32, and the softmax in
    the dtype of activations; and all else twice.

    Args:
        architecture: the model.
        tokens: of one micro-batch on one device.
        sequence: tokens of one sequence.
        remat: "none"; "selective": results of the matrices of layers are kept, the rest of one
            block at a time is computed again; "full": the inputs of blocks are kept.
        element: bytes of one activation.
        tensor: devices over which heads and hidden features are divided; what has the width
            of the model is on each.
    """
    blocks: dict[int, tuple[_Widths, int]] = {}
    for block in architecture.blocks():  # equal layers share one record
        found = blocks.get(id(block))
        widths = found[0] if found else _widths(block, architecture.size, sequence, tensor)
        blocks[id(block)] = (widths, found[1] + 1 if found else 1)
    kept = [0.0, 0.0, 0.0]
    largest = [0.0, 0.0, 0.0]
    for widths, copies in blocks.values():
        whole = widths.kept(element)
        kept = [
            k + copies * each
            for k, each in zip(kept, widths.under(remat, element), strict=True)
        ]
        largest = [max(pair) for pair in zip(largest, whole, strict=True)]
    if remat != "none":  # one block is computed again at a time
        kept = [k + again for k, again in zip(kept, (0.0, *largest[1:]), strict=True)]
    low, best, high = (round(tokens * each) for each in kept)
    return ActivationRange(low, best, high)


class _Widths(NamedTuple):
    """Features that a block computes for each token, on one device.

    Attributes:
        size: of the model.
        normed: what norms keep.
        attended: queries, keys, values and what attention gives.
        inner: hidden features of the experts and networks that a token passes, together.
        routed: inputs and outputs that are copied for each expert.
        gated: whether a gate multiplies the hidden features.
        scores: of all heads.
    """

    size: int
    normed: float
    attended: float
    inner: float
    routed: float
    gated: bool
    scores: float

    def kept(self, element: int) -> tuple[float, float, float]:
        """Return the bytes a token of the whole block: least, likeliest, most."""
        low = 2 * self.size + self.attended + self.routed / 2
        low += (3 if self.gated else 1) * self.inner
        best = 3 * self.size + self.normed + self.attended + self.routed
        best += (4 if self.gated else 2) * self.inner
        most = 2 * best * element + self.scores * (8 + element)
        return low * element, best * element, most

    def under(self, remat: str, element: int) -> tuple[float, float, float]:
        """Return the bytes a token of what a policy keeps of the block."""
        if remat == "none":
            return self.kept(element)
        inputs = self.size * element
        if remat == "full":
            return inputs, inputs, inputs
        # outputs of linear layers: queries to values, both branches, gates
        hidden = (2 if self.gated else 1) * self.inner
        linear = (2 * self.size + self.attended + hidden) * element
        return inputs, inputs + linear, inputs + linear + self.routed * element


def _widths(block: BlockSpec, size: int, sequence: int, tensor: int) -> _Widths:
    attention = block.attention
    heads = attention.heads
    window = attention.window if isinstance(attention, AttentionSpec) else None
    mlps = _mlps(block)
    return _Widths(
        size=size,
        normed=sum(
            _copies(norm) * norm.size
            for field in block.__struct_fields__
            if isinstance(norm := getattr(block, field), NormSpec)
        ),
        attended=_attended(attention, tensor),
        inner=sum(mlp.up_proj.outputs * number for mlp, number in mlps) / tensor,
        routed=2 * size * block.moe.router.per_token if block.moe else 0,
        gated=any(mlp.gate_proj is not None for mlp, _ in mlps),
        scores=heads * min(sequence, window or sequence) / tensor,
    )


def _copies(norm: NormSpec) -> int:
    """Return how many times what a norm reads is kept: an RMS norm's input in float32."""
    return 4 if norm.kind == "rms" else 2


def _attended(attention: AttentionSpec | LatentAttentionSpec, tensor: int) -> float:
    """Return the width of queries, keys, values, the output, and of norms of heads."""
    heads = attention.heads
    if not isinstance(attention, AttentionSpec):
        width = 2 * (attention.nope + attention.rope.size) + 2 * attention.value_size
        return heads * width / tensor + attention.latent_down.outputs
    queries, keys = heads * attention.head_size, attention.kv_heads * attention.head_size
    if attention.kv_heads % tensor:
        keys *= tensor  # too few heads: they are on every device
    width = 2 * queries + 2 * keys
    for norm, normed in ((attention.query_norm, queries), (attention.key_norm, keys)):
        width += 0 if norm is None else _copies(norm) * normed
    return width / tensor


def _mlps(block: BlockSpec) -> list[tuple[MlpSpec, int]]:
    """Return the feed-forward networks that one token passes, with how many of each."""
    if block.moe is None:
        return [(block.mlp, 1)] if block.mlp else []
    found = [(block.moe.experts, block.moe.router.per_token)]
    if block.moe.shared_experts is not None:
        found.append((block.moe.shared_experts, 1))
    return found
