"""What the layers of a model keep: keys and values of every token, or a state of fixed size."""

import msgspec

from explorer.architectures.architecture import Architecture, BlockSpec
from explorer.architectures.attention_specs import LatentAttentionSpec

__all__ = ["CacheLayout", "CachedLayers", "RecurrentLayers", "kept_of", "latent_width"]


class CachedLayers(msgspec.Struct, frozen=True):
    """Layers that keep the same number of elements of each token.

    Attributes:
        layers: how many.
        heads: key-value heads; 0 for a latent that all query heads share.
        key, value: elements of one head, or of the latent; no value where it is in the key.
        window: tokens that a query attends to; None for all.
        parts: sizes that a latent is made of: itself and the rotary key.
        expanded: heads and elements of the keys and values that a latent stands for.
        length: tokens of another sequence that are kept (an encoder's); None for the context.
    """

    layers: int
    heads: int
    key: int
    value: int
    window: int | None = None
    parts: tuple[int, ...] = ()
    expanded: tuple[int, int, int] | None = None
    length: int | None = None

    @property
    def full(self) -> "CachedLayers":
        """The same layers with the keys and values of each head in place of a latent.

        >>> CachedLayers(61, 0, 576, 0, expanded=(128, 192, 128)).full.key
        192
        """
        if self.expanded is None:
            return self
        heads, key, value = self.expanded
        return msgspec.structs.replace(
            self, heads=heads, key=key, value=value, parts=(), expanded=None
        )

    def split(self, devices: int) -> "CachedLayers":
        """Return what one of several devices keeps: its heads; all of a latent.

        Fewer heads than devices are kept more than once.

        >>> CachedLayers(94, 4, 128, 128).split(8).heads
        1
        """
        return msgspec.structs.replace(self, heads=-(-self.heads // devices))


class RecurrentLayers(msgspec.Struct, frozen=True):
    """Layers that keep a state of each sequence, however long it is.

    Attributes:
        layers: how many.
        convolution: elements of the last inputs of a causal convolution.
        state: elements of the recurrent state itself.
    """

    layers: int
    convolution: int
    state: int


class CacheLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What all layers of a model keep, and what sizing needs to know beside it.

    Attributes:
        family: the model_type.
        cached: layers with keys and values, by kind.
        recurrent: layers with a state.
        dtype: of the published weights.
        positions: tokens of the longest sequence; None where nothing says so.
        hidden: the hidden size.
        widest: numbers of one token that are held at once where a layer is widest.
        heads: query heads.
        vocabulary: outputs of the head; 0 for none.
        every_position: whether the head is applied to every token, not only to the last.
        image_tokens: tokens of an image, which are then the sequence; 0 for text.
        provenance: how the layers are known.
    """

    family: str = ""
    cached: tuple[CachedLayers, ...] = ()
    recurrent: tuple[RecurrentLayers, ...] = ()
    dtype: str = "float32"
    positions: int | None = None
    hidden: int = 0
    widest: int = 0
    heads: int = 0
    vocabulary: int = 0
    every_position: bool = False
    image_tokens: int = 0
    provenance: str = "exact"


def kept_of(architecture: Architecture) -> CacheLayout:
    """Return what the layers of an architecture keep.

    >>> from explorer.architectures.resolve import resolve
    >>> for kind in kept_of(resolve("gemma-3-270m").architecture).cached:
    ...     print(kind.layers, kind.heads, kind.key, kind.window)
    15 1 256 512
    3 1 256 None
    """
    number: dict[CachedLayers, int] = {}
    heads = widest = 0
    for stage in architecture.stages:
        for block in stage.blocks:
            heads = max(heads, block.attention.heads)
            widest = max(widest, _width(block, architecture.size))
            kind = _cached(block)
            if kind is not None:
                number[kind] = number.get(kind, 0) + stage.repeats
    patches, masked = architecture.patch_embed, architecture.predictions
    return CacheLayout(
        family=architecture.family,
        cached=tuple(msgspec.structs.replace(k, layers=n) for k, n in number.items()),
        dtype=architecture.dtype,
        positions=architecture.positions,
        hidden=architecture.size,
        widest=widest,
        heads=heads,
        vocabulary=_outputs(architecture),
        every_position=masked is not None and not number,
        image_tokens=patches.count + 1 if patches is not None else 0,
    )


def _cached(block: BlockSpec) -> CachedLayers | None:
    """Return what a block keeps of a token; None where attention is not causal."""
    attention = block.attention
    if isinstance(attention, LatentAttentionSpec):
        rotary = attention.rope.size
        latent = attention.latent_down.outputs - rotary
        expanded = (attention.heads, attention.nope + rotary, attention.value_size)
        return CachedLayers(
            0, 0, latent + rotary, 0, None, (latent, rotary), expanded=expanded
        )
    if not attention.causal:
        return None
    size = attention.head_size
    return CachedLayers(0, attention.kv_heads, size, size, attention.window)


def _width(block: BlockSpec, size: int) -> int:
    """Return the numbers of a token that llama.cpp's graph holds at once in a block.

    Five hidden states and three of the network's widths, measured with llama.cpp at the sizes
    of four models; experts also hold their outputs before they are added.
    """
    mlp, moe, attention = block.mlp, block.moe, block.attention
    network = 3 * mlp.up_proj.outputs if mlp is not None else 0
    if moe is not None:
        number = moe.router.per_token
        network = max(network, number * (3 * moe.experts.up_proj.outputs + size))
    if isinstance(attention, LatentAttentionSpec):
        latent, rotary = attention.latent_down.outputs, attention.rope.size
        return max(network + 5 * size, latent_width(attention.heads, latent, rotary, size))
    return max(network, 3 * attention.heads * attention.head_size) + 5 * size


def latent_width(heads: int, latent: int, rotary: int, size: int) -> int:
    """Return the numbers of a token in latent attention: queries of each head, twice, and sums.

    Args:
        heads: query heads.
        latent: elements of the latent and the rotary key.
        rotary: of them, those of the rotary key.
        size: the hidden size.

    >>> latent_width(16, 576, 64, 2048)  # 60 MiB in float32 for 512 tokens, as measured
    30720
    """
    return heads * (3 * latent - rotary) + 2 * size


def _outputs(architecture: Architecture) -> int:
    """Return the number of logits of a token."""
    if architecture.lm_head is not None:
        return architecture.lm_head.outputs
    if architecture.predictions is not None:
        return architecture.predictions.vocab_size
    if architecture.tied and architecture.embed is not None:
        return architecture.embed.rows
    return 0
