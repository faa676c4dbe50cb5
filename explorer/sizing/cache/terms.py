"""An architecture and a workload -> the terms of its cache, each with its arithmetic in words."""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.dtypes import DType
from explorer.sizing.cache.amounts import (
    Amount,
    amounts_of,
    on_one_device,
    plain,
    state_bytes,
)
from explorer.sizing.cache.engines import sequences_of
from explorer.sizing.cache.kv_types import kv_types, state_types
from explorer.sizing.cache.layers import CacheLayout
from explorer.sizing.cache.workspace import workspace_terms
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload

__all__ = ["cache_terms"]

_NOT_CAUSAL = "attention is not causal: nothing is kept between tokens"


def cache_terms(
    model: Architecture | CacheLayout, workload: Workload, placement: Placement
) -> tuple[Term, ...]:
    """Return what inference needs beside the weights: cache, states, logits, workspace.

    Args:
        model: an architecture, or what its layers keep.
        workload: with its context set.
        placement: the mesh of devices.

    Raises:
        InputError: a dtype that the engine's cache cannot have.
    """
    workload = replace(workload, batch=placement.rounded(workload.batch))
    kept = plain(model, workload)
    terms = [_kv_term(kept, workload, placement)]
    if kept.recurrent:
        terms.append(_state_term(kept, workload, placement))
    return (*terms, *workspace_terms(kept, workload, placement))


def _kv_term(kept: CacheLayout, workload: Workload, placement: Placement) -> Term:
    amounts = amounts_of(kept, workload)
    total = sum(amount.bytes for amount in amounts)
    types = kv_types(workload, kept.dtype)
    note = " + ".join(_words(each, types.key, types.value, workload) for each in amounts)
    if not kept.cached:
        is_state = bool(kept.recurrent)
        note = "no layer keeps keys and values" if is_state else _NOT_CAUSAL
    low, how = _low(kept, workload, total)
    return Term(
        name="kv_cache",
        bytes=total,
        low=low,
        high=total,
        provenance=how or kept.provenance,
        note=note,
        per_device=_share(kept, workload, placement),
    )


def _low(kept: CacheLayout, workload: Workload, total: int) -> tuple[int, str]:
    """Return the least that is allocated, and how it is known if it is not that of the rule."""
    windows = any(kind.window is not None for kind in kept.cached)
    if workload.engine != "vllm" or workload.swa_full is not None or not windows:
        return total, ""
    fewer = amounts_of(kept, replace(workload, swa_full=False))
    low = sum(amount.bytes for amount in fewer)
    if low >= total:
        return total, ""
    return low, "estimated (all tokens in every layer; low: vllm's hybrid cache manager)"


def _share(kept: CacheLayout, workload: Workload, placement: Placement) -> int | None:
    """Return the bytes of keys and values on the fullest device; None on one."""
    if placement.devices == 1:
        return None
    kept, workload = on_one_device(kept, workload, placement)
    return sum(amount.bytes for amount in amounts_of(kept, workload))


def _state_term(kept: CacheLayout, workload: Workload, placement: Placement) -> Term:
    total = state_bytes(kept, workload)
    convolution, state = state_types(workload, kept.dtype)
    note = " + ".join(
        f"{each.layers} layers x ({each.convolution:,} {convolution.name} + "
        f"{each.state:,} {state.name})"
        for each in kept.recurrent
    )
    sequences = sequences_of(workload)
    return Term(
        name="recurrent_state",
        bytes=total,
        low=total,
        high=total,
        provenance=kept.provenance,
        note=f"{note} x {sequences:,} sequence{'s' * (sequences > 1)}",
        per_device=None
        if placement.devices == 1
        else state_bytes(*on_one_device(kept, workload, placement)),
    )


def _words(amount: Amount, key: DType, value: DType, workload: Workload) -> str:
    """Return the arithmetic of one kind of layers.

    >>> from explorer import dtypes
    >>> from explorer.sizing.cache.layers import CachedLayers
    >>> latent, half = CachedLayers(61, 0, 576, 0, None, (512, 64)), dtypes.find("float16")
    >>> _words(Amount(latent, 61, 32768, 1152), half, half, Workload())
    '61 layers x (512 + 64) x 32,768 tokens x 2 B'
    """
    kind = amount.kind
    if kind.parts:
        inside = f"({' + '.join(map(str, kind.parts))})"
    elif kind.key == kind.value and key == value:
        inside = f"2 x {kind.heads} x {kind.key}"
    else:
        inside = f"{kind.heads} x ({kind.key} {key.name} + {kind.value} {value.name})"
    what = "cells" if workload.engine == "llama.cpp" else "tokens"
    if kind.length is not None:
        what = "tokens of the encoder"
    elif kind.window is not None:
        what += f" (window {kind.window:,})"
    text = f"{amount.layers} layers x {inside} x {amount.tokens:,} {what}"
    if key != value and not kind.parts:
        return text
    return f"{text} x {_element(key)}"


def _element(dtype: DType) -> str:
    size, rest = divmod(dtype.block_bytes, dtype.block)
    return f"{dtype.block_bytes}/{dtype.block} B" if rest else f"{size} B"
