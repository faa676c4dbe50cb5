"""What inference needs beside weights and cache: logits, and the activations of one step.

The activations are an estimate: engines plan their buffers from graphs that explorer has not.
Each rule below is that of the sizes that an engine showed, with the range that they had.
"""

from typing import NamedTuple

from explorer.sizing.cache.amounts import amounts_of
from explorer.sizing.cache.engines import ENGINES, context_of, sequences_of
from explorer.sizing.cache.kv_types import state_types
from explorer.sizing.cache.layers import CacheLayout
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload

__all__ = ["workspace_terms"]

_F32 = 4
_SAMPLED = 256  # sequences of vllm's profile run: max_num_seqs
_GIB = 2**30


class _Range(NamedTuple):
    """Bytes of an estimate, and how it is made."""

    low: int
    best: int
    high: int
    how: str


def workspace_terms(
    kept: CacheLayout, workload: Workload, placement: Placement
) -> tuple[Term, ...]:
    """Return the terms "logits" (where a head has any) and "workspace"."""
    shards = placement.size("data", "fsdp")
    terms = [_workspace(kept, workload, placement)]
    if kept.vocabulary:
        terms.insert(0, _logits(kept, workload, shards))
    return tuple(terms)


def _logits(kept: CacheLayout, workload: Workload, shards: int) -> Term:
    """Return the logits of one step: of each sequence's last token, or of all of an encoder's.

    llama.cpp reserves them for each slot (output_reserve in src/llama-context.cpp).
    """
    rows = sequences_of(workload)
    note = f"{rows:,} x {kept.vocabulary:,} x 4 B"
    if kept.every_position:
        tokens = tokens_of(kept, workload)
        note = f"{rows:,} x {tokens:,} x {kept.vocabulary:,} x 4 B"
        rows *= tokens
    total = rows * kept.vocabulary * _F32
    is_exact = workload.engine == "llama.cpp"
    return Term(
        name="logits",
        bytes=total,
        low=total if is_exact else total // 2,
        high=total,
        provenance="exact" if is_exact else "assumed (float32; low: 16 bits)",
        note=note,
        per_device=None if shards == 1 else -(-total // shards),
    )


def tokens_of(kept: CacheLayout, workload: Workload) -> int:
    """Return the tokens of one sequence, of which an image has a fixed number."""
    return kept.image_tokens or context_of(workload)


def _workspace(kept: CacheLayout, workload: Workload, placement: Placement) -> Term:
    tensor, shards = placement.size("tensor"), placement.size("data", "fsdp")
    rule = {"llama.cpp": _llama, "jax": _jax}.get(workload.engine, _profiled)
    if not kept.cached and not kept.recurrent:
        rule = _encoder
    found = rule(kept, workload, shards, tensor)
    copies = placement.devices
    return Term(
        name="workspace",
        bytes=found.best * copies,
        low=found.low * copies,
        high=found.high * copies,
        provenance=f"estimated ({found.how})",
        note="activations of one step",
        per_device=None if copies == 1 else found.best,
    )


def _layer(kept: CacheLayout, tensor: int, size: int) -> int:
    """Return bytes of one token's activations where a layer is widest.

    A tensor axis splits all but the hidden states.
    """
    hidden = min(5 * kept.hidden, kept.widest)
    return size * (hidden + -(-(kept.widest - hidden) // tensor))


def _llama(kept: CacheLayout, workload: Workload, shards: int, tensor: int) -> _Range:
    """Return the compute buffer of llama.cpp with flash attention.

    Measured with llama.cpp of 2026: float32 activations of one micro-batch and masks of 16
    bits over the cells of a stream. Builds before mid-2026 hold the logits of all its tokens
    too (Llama-2-7B 70.5 MiB, Llama-3-8B 258.5 MiB), which is the high figure.
    """
    del shards, tensor
    tokens = ENGINES["llama.cpp"].prompt(workload)
    streams = 1 if workload.kv_unified else sequences_of(workload)
    cells = {
        each.kind.window: each.tokens // streams for each in amounts_of(kept, workload)
    }
    best = tokens * (_layer(kept, 1, _F32) + 2 * sum(cells.values()))
    logits = tokens * _F32 * (kept.vocabulary + kept.hidden)
    how = "llama.cpp's graph with flash attention; high: logits of all tokens"
    return _Range(best * 3 // 5, best, (best + logits) * 5 // 4, how)


def _jax(kept: CacheLayout, workload: Workload, shards: int, tensor: int) -> _Range:
    """Return what a jitted step takes: one layer, and its scores over all keys in float32.

    The step computes a chunk of one prompt, or the next token of each sequence; low is the
    latter, high a whole prompt at once without its scores.
    """
    size = max(2, state_types(workload, kept.dtype)[0].nbytes(1))
    sequences = -(-workload.batch // shards)
    context = context_of(workload)
    chunk = min(ENGINES["jax"].prompt(workload), context)
    layer = _layer(kept, tensor, size)
    token = layer + _F32 * -(-kept.heads // tensor) * context
    best = max(sequences, chunk) * token
    high = max(2 * best, context * layer)
    how = f"one layer and its scores for {chunk:,} tokens; high: a whole prompt at once"
    return _Range(min(sequences, chunk) * token, best, high, how)


def _profiled(kept: CacheLayout, workload: Workload, shards: int, tensor: int) -> _Range:
    """Return the peak of an engine's profile run: a full step, and sampling.

    vllm's logs: 0.22 to 1.45 GiB for models of 8B (vllm/v1/worker/gpu_worker.py).
    """
    del shards
    tokens = ENGINES[workload.engine].prompt(workload)
    step = tokens * _layer(kept, tensor, 2)
    sampling = _SAMPLED * kept.vocabulary * _F32
    low, best = step // 2 + sampling // 4, step + 4 * sampling
    how = f"a step of {tokens:,} tokens, sampling for {_SAMPLED} sequences"
    return _Range(low, best, 2 * best + _GIB, f"{how}; high: with captured graphs")


def _encoder(kept: CacheLayout, workload: Workload, shards: int, tensor: int) -> _Range:
    """Return one layer's activations of a batch; high: with all scores in float32."""
    size = max(2, state_types(workload, kept.dtype)[0].nbytes(1))
    context = tokens_of(kept, workload)
    tokens = -(-workload.batch // shards) * context
    layer = tokens * _layer(kept, tensor, size)
    scores = _F32 * tokens * -(-kept.heads // tensor) * context
    low, best = layer // 2, layer + scores
    how = "one layer's activations and scores; low: fused attention"
    return _Range(low, best, 2 * best, how)
