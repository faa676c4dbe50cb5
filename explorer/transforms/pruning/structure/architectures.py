"""An architecture and a pattern -> the architecture without the units that are removed."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, BlockSpec, stages_of
from explorer.architectures.attention_specs import AttentionSpec, LatentAttentionSpec
from explorer.architectures.specs import ExpertsSpec, LinearSpec, MlpSpec, NormSpec
from explorer.errors import InputError
from explorer.transforms.pruning.patterns import Pattern

__all__ = ["HeadCut", "head_cut", "kept_experts", "shared_width", "shrunk", "width"]

Attention = AttentionSpec | LatentAttentionSpec


class HeadCut(NamedTuple):
    """How many heads are removed: whole groups of queries with their keys, or queries of each.

    `groups` key-value heads go with all their queries; else `queries` of each group go.
    """

    groups: int
    queries: int


def shrunk(
    architecture: Architecture, pattern: Pattern, layers: Sequence[int] | None = None
) -> Architecture:
    """Return an architecture without the share of units that a pattern removes.

    Args:
        architecture: the model.
        pattern: rows or columns, heads, layers or experts, and a share of them.
        layers: the layers that are kept; None for the first ones.

    Raises:
        InputError: a share that removes nothing, heads that do not divide into the groups that
            share keys, or a model without such units.

    >>> from explorer.architectures.resolve import resolve
    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> llama = resolve("llama-3.1-8b").architecture
    >>> next(shrunk(llama, parse_pattern("rows:0.25")).blocks()).mlp.up_proj.outputs
    10752
    """
    blocks = [*architecture.blocks()]
    if pattern.kind == "layers":
        removed = pattern.number(len(blocks))
        if not removed or not blocks:
            raise _nothing(pattern, len(blocks), "layers")
        kept = range(len(blocks) - removed) if layers is None else layers
        return replace(architecture, stages=stages_of([blocks[index] for index in kept]))
    by_id: dict[int, BlockSpec] = {}
    for block in blocks:
        if id(block) not in by_id:
            by_id[id(block)] = _block(block, pattern, architecture)
    return replace(architecture, stages=stages_of([by_id[id(block)] for block in blocks]))


def _block(block: BlockSpec, pattern: Pattern, architecture: Architecture) -> BlockSpec:
    if pattern.kind == "heads":
        return replace(block, attention=_attention(block.attention, pattern))
    if pattern.kind == "experts":
        if architecture.router is None:
            raise InputError(
                "pattern",
                found=f"experts of {architecture.class_name}, which has none",
                expected="a mixture of experts, or rows, heads or layers",
            )
        return replace(block, moe=block.moe and _fewer_experts(block.moe, pattern))
    moe = block.moe
    if moe is not None:
        shared = moe.shared_experts and _narrowed(
            moe.shared_experts, shared_width(moe, pattern)
        )
        experts = _narrowed(moe.experts, width(moe.experts, pattern))
        moe = replace(moe, experts=experts, shared_experts=shared)
    return replace(
        block, mlp=block.mlp and _narrowed(block.mlp, width(block.mlp, pattern)), moe=moe
    )


def width(mlp: MlpSpec, pattern: Pattern) -> int:
    """Return how many units of a feed-forward network are kept."""
    inner = mlp.up_proj.outputs
    if not pattern.number(inner):
        raise _nothing(pattern, inner, "units of a feed-forward network")
    return inner - pattern.number(inner)


def shared_width(moe: ExpertsSpec, pattern: Pattern) -> int:
    """Return how many units of shared experts are kept: as many of each as of a routed one."""
    assert moe.shared_experts is not None
    own, inner = moe.shared_experts.up_proj.outputs, moe.experts.up_proj.outputs
    if own % inner:
        return width(moe.shared_experts, pattern)
    return own // inner * width(moe.experts, pattern)


def _narrowed(mlp: MlpSpec, kept: int) -> MlpSpec:
    gate = mlp.gate_proj and replace(mlp.gate_proj, outputs=kept)
    up, down = replace(mlp.up_proj, outputs=kept), replace(mlp.down_proj, inputs=kept)
    return replace(mlp, gate_proj=gate, up_proj=up, down_proj=down)


def kept_experts(moe: ExpertsSpec, pattern: Pattern) -> int:
    """Return how many experts are kept; of a router with groups, as many of each group."""
    router = moe.router
    each = router.experts // router.groups
    kept = router.groups * (each - pattern.number(each))
    if kept == router.experts:
        raise _nothing(
            pattern, each, "experts" if router.groups == 1 else "experts of a group"
        )
    if kept < router.per_token:
        raise InputError(
            "pattern",
            found=f"{pattern.text} leaves {kept:,} of {router.experts:,} experts",
            expected=f"at least {router.per_token:,}, which the router selects for a token",
        )
    return kept


def _fewer_experts(moe: ExpertsSpec, pattern: Pattern) -> ExpertsSpec:
    kept = kept_experts(moe, pattern)

    def stacked(linear: LinearSpec) -> LinearSpec:
        return replace(linear, stack=kept)

    own = moe.experts
    gate = own.gate_proj and stacked(own.gate_proj)
    experts = replace(
        own, gate_proj=gate, up_proj=stacked(own.up_proj), down_proj=stacked(own.down_proj)
    )
    return replace(moe, router=replace(moe.router, experts=kept), experts=experts)


def head_cut(attention: Attention, pattern: Pattern) -> HeadCut:
    """Return how many heads of an attention are removed.

    Raises:
        InputError: neither whole groups nor as many queries of each group are the share.

    >>> from explorer.architectures.resolve import resolve
    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> attention = next(resolve("llama-3.1-8b").architecture.blocks()).attention
    >>> head_cut(attention, parse_pattern("heads:0.25"))
    HeadCut(groups=2, queries=0)
    """
    heads = attention.heads
    groups = attention.kv_heads if isinstance(attention, AttentionSpec) else heads
    queries = heads // groups
    if queries == 1:
        if not pattern.number(heads):
            raise _nothing(pattern, heads, "heads")
        return HeadCut(pattern.number(heads), 0)
    for whole in (pattern.share * groups, pattern.share * queries):
        if whole.denominator == 1 and whole >= 1:
            of_groups = whole == pattern.share * groups
            return HeadCut(int(whole), 0) if of_groups else HeadCut(0, int(whole))
    raise InputError(
        "pattern",
        found=f"{pattern.text} of {heads:,} heads, {queries:,} of which share a key",
        expected=f"a multiple of {Fraction(1, groups)} (whole groups) or of "
        f"{Fraction(1, queries)} (of each group)",
    )


def _attention(attention: Attention, pattern: Pattern) -> Attention:
    cut = head_cut(attention, pattern)
    if isinstance(attention, LatentAttentionSpec):
        kept = attention.heads - cut.groups
        own = {
            name: _outputs(linear, kept, attention.heads)
            for name in ("query", "query_up", "latent_up")
            if (linear := getattr(attention, name)) is not None
        }
        out = _inputs(attention.out, kept, attention.heads)
        return replace(attention, heads=kept, out=out, **own)
    groups = attention.kv_heads - cut.groups
    heads = groups * (attention.heads // attention.kv_heads - cut.queries)
    _require_head_norms(attention)
    sinks = attention.sinks and replace(attention.sinks, heads=heads)
    return replace(
        attention,
        query=_outputs(attention.query, heads, attention.heads),
        key=_outputs(attention.key, groups, attention.kv_heads),
        value=_outputs(attention.value, groups, attention.kv_heads),
        out=_inputs(attention.out, heads, attention.heads),
        heads=heads,
        kv_heads=groups,
        sinks=sinks,
    )


def _outputs(linear: LinearSpec, kept: int, heads: int) -> LinearSpec:
    return replace(linear, outputs=linear.outputs // heads * kept)


def _inputs(linear: LinearSpec, kept: int, heads: int) -> LinearSpec:
    return replace(linear, inputs=linear.inputs // heads * kept)


def _require_head_norms(attention: AttentionSpec) -> None:
    norms: tuple[NormSpec | None, ...] = (attention.query_norm, attention.key_norm)
    if any(norm is not None and norm.size != attention.head_size for norm in norms):
        raise InputError(
            "pattern",
            found="heads of queries that are normalised all together",
            expected="norms of single heads, or none",
            cure="prune rows or layers",
        )


def _nothing(pattern: Pattern, number: int, what: str) -> InputError:
    return InputError(
        "pattern",
        found=f"{pattern.text} of {number:,} {what} is none",
        expected=f"at least 1/{number}" if number else "a model that has some",
    )
