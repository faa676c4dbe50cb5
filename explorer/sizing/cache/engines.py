"""The engines' rules: how many tokens' keys and values a kind of layer has room for.

jax        batch x context, windows as rings of their size
llama.cpp  src/llama-context.cpp, src/llama-kv-cache-iswa.cpp (2025)
vllm       vllm/v1/kv_cache_interface.py, vllm/v1/core/kv_cache_utils.py (2025)
sglang     python/sglang/srt/mem_cache/memory_pool.py, model_runner.py (2025)
"""

from collections.abc import Callable
from typing import NamedTuple

from explorer.sizing.cache.layers import CachedLayers, CacheLayout
from explorer.sizing.records import Workload

__all__ = ["ENGINES", "PAGE", "Engine", "keeps_windows", "sequences_of", "tokens_of"]

PAGE = 16  # tokens of vllm's block_size
_PAD = 256  # cells that llama.cpp pads a cache to
_MICRO_BATCH = 512  # llama.cpp's --ubatch-size
_SCHEDULED = 2048  # vllm's max_num_batched_tokens
# families whose windows llama.cpp uses (swa_type in src/llama-model.cpp); it reads Mistral as
# a LLaMA, and Phi-3's windows are disabled
_LLAMA_WINDOWS = ("gemma2", "gemma3_text", "gemma3n_text", "gpt_oss", "cohere2")
# families whose windows sglang keeps in a pool of their own (is_hybrid_swa_model)
_SGLANG_WINDOWS = ("gpt_oss",)
_SGLANG_SHARE = (4, 5)  # that pool's share of tokens: swa_full_tokens_ratio 0.8


class Engine(NamedTuple):
    """An engine's rules.

    Attributes:
        tokens: of one kind of layers, what all sequences have room for.
        prompt: tokens of a prompt that are computed at once.
        rule: the rule in words.
    """

    tokens: Callable[[CacheLayout, CachedLayers, Workload], int]
    prompt: Callable[[Workload], int]
    rule: str


def sequences_of(workload: Workload) -> int:
    """Return how many sequences have a cache of their own.

    >>> sequences_of(Workload(batch=2, parallel=3, engine="llama.cpp"))
    6
    """
    slots = workload.parallel if workload.engine == "llama.cpp" else 1
    return workload.batch * slots


def tokens_of(workload: Workload) -> int:
    """Return the tokens of each sequence where all are as long: slots share llama.cpp's context.

    >>> tokens_of(Workload(context=8192, parallel=4, engine="llama.cpp"))
    2048
    """
    slots = workload.parallel if workload.engine == "llama.cpp" else 1
    return max(1, context_of(workload) // slots)


def keeps_windows(kept: CacheLayout, workload: Workload) -> bool:
    """Return whether layers with a window keep only its tokens.

    vllm's default here is every layer with pages of all tokens: what it allocates where its
    hybrid cache manager is off, and what its log counts in either case.
    """
    if workload.swa_full:
        return False
    engine = workload.engine
    if engine == "llama.cpp":
        return kept.family in _LLAMA_WINDOWS
    if workload.swa_full is None and engine == "sglang":
        return kept.family in _SGLANG_WINDOWS
    mixed = len({kind.window is None for kind in kept.cached}) > 1
    return not (workload.swa_full is None and engine == "vllm" and mixed)


def context_of(workload: Workload) -> int:
    """Return the tokens of one sequence; they must be set."""
    assert workload.context is not None
    return workload.context


def _padded(tokens: int, multiple: int) -> int:
    return -(-tokens // multiple) * multiple


def _jax(kept: CacheLayout, kind: CachedLayers, workload: Workload) -> int:
    context = kind.length or context_of(workload)
    if kind.window is not None and keeps_windows(kept, workload):
        context = min(context, kind.window)
    return workload.batch * context


def _llama_micro_batch(workload: Workload) -> int:
    """Return n_ubatch, at most the context; a longer one needs a larger --batch-size too."""
    return min(context_of(workload) * workload.batch, workload.prompt or _MICRO_BATCH)


def _llama(kept: CacheLayout, kind: CachedLayers, workload: Workload) -> int:
    """Return cells of all streams: n_ctx over the slots, padded; the window and one micro-batch.

    Slots share one cache if unified. `context` is that of one of `batch` groups of `parallel`
    slots.
    """
    slots = sequences_of(workload)
    if kind.length is not None:
        return slots * kind.length
    streams = 1 if workload.kv_unified else slots
    cells = _padded(context_of(workload) * workload.batch, _PAD)
    cells = _padded(cells // streams, _PAD)
    if kind.window is None or not keeps_windows(kept, workload):
        return streams * cells
    windows = kind.window * (slots if workload.kv_unified else 1)
    windowed = min(cells, windows + _llama_micro_batch(workload))
    return streams * _padded(windowed, _PAD)


def _vllm(kept: CacheLayout, kind: CachedLayers, workload: Workload) -> int:
    """Return tokens of the pages of all sequences.

    With windows kept, pages for the window and what is scheduled at once, and one more
    (SlidingWindowSpec.max_memory_usage_bytes), but never more than those of all tokens.
    """
    context = kind.length or context_of(workload)
    pages = -(-context // PAGE)
    if kind.window is not None and keeps_windows(kept, workload):
        scheduled = workload.prompt or _SCHEDULED
        windowed = -(-min(kind.window - 1 + scheduled, context) // PAGE) + 1
        pages = min(pages, windowed)
    return workload.batch * pages * PAGE


def _sglang(kept: CacheLayout, kind: CachedLayers, workload: Workload) -> int:
    """Return token slots; those of windowed layers are a share where they have a pool."""
    slots = workload.batch * (kind.length or context_of(workload))
    if kind.window is None or not keeps_windows(kept, workload):
        return slots
    share, of = _SGLANG_SHARE
    return slots * share // of


ENGINES: dict[str, Engine] = {
    "jax": Engine(
        _jax,
        lambda workload: workload.prompt or min(context_of(workload), 512),
        "batch x context, windows as rings",
    ),
    "llama.cpp": Engine(
        _llama,
        _llama_micro_batch,
        "n_ctx over the slots, padded to 256 cells",
    ),
    "vllm": Engine(
        _vllm,
        lambda workload: workload.prompt or _SCHEDULED,
        "pages of 16 tokens",
    ),
    "sglang": Engine(_sglang, lambda workload: workload.prompt or 8192, "one slot a token"),
}
