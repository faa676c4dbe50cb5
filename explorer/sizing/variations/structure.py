"""An architecture -> the same one with other layers, vocabulary, experts or an untied head."""

from itertools import islice

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, BlockSpec, stages_of
from explorer.architectures.specs import ExpertsSpec, LinearSpec, MlpSpec
from explorer.errors import InputError
from explorer.sizing.records import Variation

__all__ = ["varied"]

_MOST_LAYERS = 4_096


def varied(architecture: Architecture, change: Variation) -> Architecture:
    """Return an architecture with the layers, vocabulary, experts and head of a variation.

    Fewer layers are the first ones; more repeat the last stage of equal blocks, so that a
    mixture keeps its leading dense layers.

    Raises:
        InputError: a change that the architecture has no place for.

    >>> from explorer.architectures.resolve import resolve
    >>> varied(resolve("llama-2-7b").architecture, Variation(layers=2)).num_layers
    2
    """
    for value, function in (
        (change.layers, _with_layers),
        (change.experts, _with_experts),
        (change.vocab, _with_vocabulary),
    ):
        if value is not None:
            architecture = function(architecture, value)
    return _untied(architecture) if change.untie else architecture


def _with_layers(architecture: Architecture, number: int) -> Architecture:
    if not architecture.stages or number > _MOST_LAYERS:
        raise InputError(
            "layers",
            found=f"{number:,} for {architecture.class_name}",
            expected=f"up to {_MOST_LAYERS:,}, of a model of blocks",
        )
    blocks = [*islice(architecture.blocks(), number)]
    period = architecture.stages[-1].blocks
    start = len(blocks)
    blocks += [period[(i - start) % len(period)] for i in range(start, number)]
    return replace(architecture, stages=stages_of(blocks))


def _with_experts(architecture: Architecture, number: int) -> Architecture:
    router = architecture.router
    if router is None:
        raise InputError(
            "experts",
            found=f"{architecture.class_name} is not a mixture of experts",
            expected="a model with a router",
        )
    if number < router.per_token or number % router.groups:
        groups = f", a multiple of its {router.groups} groups" if router.groups > 1 else ""
        raise InputError(
            "experts",
            found=f"{number:,} for a router that picks {router.per_token}",
            expected=f"at least {router.per_token}{groups}",
        )

    def changed(block: BlockSpec) -> BlockSpec:
        if block.moe is None:
            return block
        experts = _stacked(block.moe.experts, number)
        moe: ExpertsSpec = replace(
            block.moe, router=replace(block.moe.router, experts=number), experts=experts
        )
        return replace(block, moe=moe)

    stages = tuple(
        replace(stage, blocks=tuple(map(changed, stage.blocks)))
        for stage in architecture.stages
    )
    return replace(architecture, stages=stages)


def _stacked(mlp: MlpSpec, number: int) -> MlpSpec:
    gate = mlp.gate_proj and replace(mlp.gate_proj, stack=number)
    up, down = (replace(each, stack=number) for each in (mlp.up_proj, mlp.down_proj))
    return replace(mlp, gate_proj=gate, up_proj=up, down_proj=down)


def _with_vocabulary(architecture: Architecture, rows: int) -> Architecture:
    if architecture.embed is None:
        raise InputError(
            "vocab",
            found=f"{architecture.class_name} has no table of tokens",
            expected="a language model",
        )
    head, masked = architecture.lm_head, architecture.predictions
    if masked is not None:
        decoder = masked.decoder and replace(masked.decoder, outputs=rows)
        masked = replace(masked, vocab_size=rows, decoder=decoder)
    return replace(
        architecture,
        embed=replace(architecture.embed, rows=rows),
        lm_head=head and replace(head, outputs=rows),
        predictions=masked,
    )


def _untied(architecture: Architecture) -> Architecture:
    if not architecture.tied or architecture.embed is None:
        raise InputError(
            "untie",
            found=f"the head of {architecture.class_name} is not tied",
            expected="a model whose head is its table of tokens",
        )
    embed, masked = architecture.embed, architecture.predictions
    head = LinearSpec(embed.size, embed.rows)
    if masked is not None:
        masked = replace(masked, decoder=head)
        return replace(architecture, tied=False, predictions=masked)
    return replace(architecture, tied=False, lm_head=head)
