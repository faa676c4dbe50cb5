"""The record of a model: embeddings, stages of blocks, heads."""

from collections.abc import Iterator
from functools import cached_property

import msgspec

from explorer.architectures.attention_specs import AttentionSpec, LatentAttentionSpec
from explorer.architectures.specs import (
    EmbeddingSpec,
    ExpertsSpec,
    LayerSpec,
    LinearSpec,
    MaskedHeadSpec,
    MlpSpec,
    NormSpec,
    PatchesSpec,
    RouterSpec,
    TokenSpec,
)
from explorer.errors import InputError, first_few

__all__ = ["Architecture", "BlockSpec", "StageSpec", "stages_of"]

_LONGEST_PERIOD = 16


class BlockSpec(LayerSpec, frozen=True, kw_only=True):
    """Attention and a feed-forward network, each with a residual connection.

    `attention_norm` and `mlp_norm` are applied before a branch, the post-norms to its
    output, the sum-norms after the residual addition (BERT). With `parallel` both branches
    read the block's input; without an `mlp_norm` they share the `attention_norm`.
    """

    attention_norm: NormSpec | None = None
    attention: AttentionSpec | LatentAttentionSpec
    attention_post_norm: NormSpec | None = None
    attention_sum_norm: NormSpec | None = None
    mlp_norm: NormSpec | None = None
    mlp: MlpSpec | None = None
    moe: ExpertsSpec | None = None
    mlp_post_norm: NormSpec | None = None
    mlp_sum_norm: NormSpec | None = None
    parallel: bool = False


class StageSpec(msgspec.Struct, frozen=True):
    """A short sequence of blocks, repeated `repeats` times: one `nn.scan`."""

    repeats: int
    blocks: tuple[BlockSpec, ...]

    @property
    def layers(self) -> int:
        """Number of blocks, repeats included."""
        return self.repeats * len(self.blocks)


class Architecture(LayerSpec, frozen=True, kw_only=True, dict=True):
    """A model. `family` is the config's model_type, `class_name` the class that is built.

    Layers that a model lacks are None. Logits come from `lm_head`, `predictions` or, if
    `tied`, from the input embedding. `embed_scale` multiplies embeddings; `logit_scale`
    multiplies logits, then `logit_softcap` bounds them. `pad_token` is set where positions
    count only the other tokens (RoBERTa). `dtype` is that of the published weights,
    `positions` the tokens of the longest sequence, where the config says so.
    `unbuilt` says why no Flax module is built, `assumptions` what its counts take for granted.
    """

    family: str
    class_name: str
    size: int
    embed: EmbeddingSpec | None = None
    position_embed: EmbeddingSpec | None = None
    type_embed: EmbeddingSpec | None = None
    patch_embed: PatchesSpec | None = None
    cls_token: TokenSpec | None = None
    embed_norm: NormSpec | None = None
    stages: tuple[StageSpec, ...] = ()
    final_norm: NormSpec | None = None
    lm_head: LinearSpec | None = None
    predictions: MaskedHeadSpec | None = None
    pooler: LinearSpec | None = None
    relationship: LinearSpec | None = None
    classifier: LinearSpec | None = None
    tied: bool = False
    embed_scale: float | None = None
    logit_scale: float | None = None
    logit_softcap: float | None = None
    pad_token: int | None = None
    dtype: str = "float32"
    positions: int | None = None
    unbuilt: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

    def check_built(self) -> None:
        """Raise an InputError if a Flax module of it would not be the model."""
        if self.unbuilt:
            raise InputError(
                self.class_name,
                found=f"has no Flax module: {first_few(self.unbuilt)}",
                cure="its parameters can be counted",
            )

    @cached_property
    def num_layers(self) -> int:
        """Number of blocks in all stages."""
        return sum(stage.layers for stage in self.stages)

    def blocks(self) -> Iterator[BlockSpec]:
        """Yield the block of each layer, first to last."""
        for stage in self.stages:
            for _ in range(stage.repeats):
                yield from stage.blocks

    @cached_property
    def router(self) -> RouterSpec | None:
        """The router of a mixture of experts, or None."""
        for stage in self.stages:
            for block in stage.blocks:
                if block.moe is not None:
                    return block.moe.router
        return None


def stages_of(blocks: list[BlockSpec]) -> tuple[StageSpec, ...]:
    """Return blocks grouped into stages, each the longest repetition of a short period.

    Two alternating kinds of blocks become one stage with a period of two; dense blocks
    followed by mixtures become two stages. A scan over a stage traces each of its blocks once.
    """
    stages = []
    start = 0
    while start < len(blocks):
        period, repeats = max(
            ((p, _repeats(blocks, start, p)) for p in range(1, _LONGEST_PERIOD + 1)),
            key=lambda found: (found[0] * found[1] if found[1] > 1 else 1, -found[0]),
        )
        stages.append(StageSpec(repeats, tuple(blocks[start : start + period])))
        start += period * repeats
    return tuple(stages)


def _repeats(blocks: list[BlockSpec], start: int, period: int) -> int:
    """Return how many times the `period` blocks at `start` are repeated."""
    if start + period > len(blocks):
        return 0
    end = start + period
    while end < len(blocks) and blocks[end] == blocks[end - period]:
        end += 1
    return (end - start) // period
