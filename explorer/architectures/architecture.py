"""The record of one model: embeddings, stages of blocks, heads."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from explorer.architectures.specs import (
    Attention,
    Embedding,
    Experts,
    LatentAttention,
    Layer,
    Linear,
    MaskedHead,
    Mlp,
    Norm,
    Patches,
    Token,
)

__all__ = ["Architecture", "Block", "Stage", "stages_of"]

_LONGEST_PERIOD = 16


class Block(Layer, frozen=True, kw_only=True):
    """Attention and a feed-forward network, each added to the stream.

    What norms are there says where they stand: `attention_norm` and `mlp_norm` before a
    branch, the post-norms after it, the sum-norms after it is added (BERT). `parallel` adds
    both branches at once; without a norm of its own the second shares the first's.
    """

    attention_norm: Norm | None = None
    attention: Attention | LatentAttention
    attention_post_norm: Norm | None = None
    attention_sum_norm: Norm | None = None
    mlp_norm: Norm | None = None
    mlp: Mlp | None = None
    moe: Experts | None = None
    mlp_post_norm: Norm | None = None
    mlp_sum_norm: Norm | None = None
    parallel: bool = False


class Stage(msgspec.Struct, frozen=True):
    """`repeats` times the same few blocks: what `nn.scan` stacks."""

    repeats: int
    blocks: tuple[Block, ...]

    @property
    def layers(self) -> int:
        """Blocks in all."""
        return self.repeats * len(self.blocks)


class Architecture(Layer, frozen=True, kw_only=True, dict=True):
    """One model. `family` is the config's model_type, `class_name` the class built.

    A model has the layers that are not None, and logits from `lm_head`, `predictions` or,
    where `tied`, from the input embedding. `embed_scale` multiplies embeddings, `logit_scale`
    logits, which `logit_softcap` bounds. `pad_token` is given where positions count only
    other tokens (RoBERTa). `dtype` is the format of the published weights.
    """

    family: str
    class_name: str
    size: int
    embed: Embedding | None = None
    position_embed: Embedding | None = None
    type_embed: Embedding | None = None
    patch_embed: Patches | None = None
    cls_token: Token | None = None
    embed_norm: Norm | None = None
    stages: tuple[Stage, ...] = ()
    final_norm: Norm | None = None
    lm_head: Linear | None = None
    predictions: MaskedHead | None = None
    pooler: Linear | None = None
    relationship: Linear | None = None
    classifier: Linear | None = None
    tied: bool = False
    embed_scale: float | None = None
    logit_scale: float | None = None
    logit_softcap: float | None = None
    pad_token: int | None = None
    dtype: str = "float32"

    @cached_property
    def num_layers(self) -> int:
        """Blocks of all stages."""
        return sum(stage.layers for stage in self.stages)

    def blocks(self) -> Iterator[Block]:
        """Yield the block of each layer, first to last."""
        for stage in self.stages:
            for _ in range(stage.repeats):
                yield from stage.blocks

    @cached_property
    def router(self) -> Any:
        """The router of a mixture of experts; None where there is none."""
        for stage in self.stages:
            for block in stage.blocks:
                if block.moe is not None:
                    return block.moe.router
        return None


def stages_of(blocks: list[Block]) -> tuple[Stage, ...]:
    """Return a list of blocks as stages: the longest repeats of a short period, in order.

    Alternating blocks become one stage of a pair, dense blocks before a mixture's two
    stages; so that a scan over a stage traces each kind of block once.
    """
    stages = []
    start = 0
    while start < len(blocks):
        period, repeats = max(
            ((p, _repeats(blocks, start, p)) for p in range(1, _LONGEST_PERIOD + 1)),
            key=lambda found: (found[0] * found[1] if found[1] > 1 else 1, -found[0]),
        )
        stages.append(Stage(repeats, tuple(blocks[start : start + period])))
        start += period * repeats
    return tuple(stages)


def _repeats(blocks: list[Block], start: int, period: int) -> int:
    """Return how often the blocks from `start` repeat with a period."""
    if start + period > len(blocks):
        return 0
    end = start + period
    while end < len(blocks) and blocks[end] == blocks[end - period]:
        end += 1
    return (end - start) // period
