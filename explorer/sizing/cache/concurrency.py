"""How many sequences, and how many tokens, fit in the memory that weights leave free."""

from msgspec.structs import replace

from explorer.architectures.architecture import Architecture
from explorer.sizing.cache.amounts import (
    ONE_DEVICE,
    amounts_of,
    cache_bytes,
    on_one_device,
    plain,
    state_bytes,
)
from explorer.sizing.cache.engines import PAGE, context_of
from explorer.sizing.cache.layers import CacheLayout
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Concurrency, Workload

__all__ = ["USABLE", "concurrency"]

# the share of a device's memory that an engine takes, its own reserve left out: vllm's
# gpu_memory_utilization, sglang's usual mem_fraction_static (server_args.py), XLA's default on
# GPUs (XLA_PYTHON_CLIENT_MEM_FRACTION); llama.cpp takes what it needs
USABLE = {"vllm": 0.9, "sglang": 0.88, "jax": 0.75, "llama.cpp": 1.0}
_MOST = 2**40


def concurrency(
    model: Architecture | CacheLayout,
    workload: Workload,
    free_bytes: int,
    placement: Placement = ONE_DEVICE,
) -> Concurrency:
    """Return how many sequences of a workload's context fit in bytes on each device.

    vllm divides them into blocks of 16 tokens in every layer, sglang into slots of a token;
    of llama.cpp and jax it is the largest batch whose cache fits.

    Args:
        model: an architecture, or what its layers keep.
        workload: with its context set; its batch does not matter.
        free_bytes: on one device, for the cache alone.
        placement: the mesh of devices.

    >>> from explorer.architectures.resolve import resolve
    >>> oss = resolve("gpt-oss-120b").architecture
    >>> found = concurrency(oss, Workload(context=8192, engine="vllm"), 5_779_095_552)
    >>> found.tokens, round(found.sequences, 2)
    (78384, 9.57)
    """
    one = replace(workload, batch=1)
    kept, one = on_one_device(plain(model, one), one, placement)
    shards = placement.size("data", "fsdp")
    if not kept.cached and not kept.recurrent:
        return Concurrency(sequences=float("inf"), tokens=_MOST)
    if workload.engine == "vllm" and kept.cached:
        found = _pages(kept, one, free_bytes)
    elif workload.engine == "sglang" and kept.cached:
        found = _slots(kept, one, free_bytes)
    else:
        found = _batches(kept, one, free_bytes)
    if shards == 1:
        return found
    return Concurrency(
        sequences=found.sequences * shards,
        tokens=found.tokens * shards,
        blocks=found.blocks,
    )


def _pages(kept: CacheLayout, one: Workload, free: int) -> Concurrency:
    """Return blocks, their tokens, and over how many blocks a sequence spreads.

    Kinds of layers take blocks from one pool in groups of equally many layers; the log counts
    tokens as if each group had all of them (get_max_concurrency_for_kv_cache_config).
    """
    amounts = amounts_of(kept, one)
    each = sum(amount.bytes for amount in amounts) + state_bytes(kept, one)
    same = {amount.token_bytes for amount in amounts}
    layers = [amount.layers for amount in amounts]
    least = min(layers)
    in_groups = len(same) == 1 and all(number % least == 0 for number in layers)
    if in_groups and len({amount.tokens for amount in amounts}) > 1:
        groups = sum(layers) // least
        block = PAGE * least * same.pop()
    else:
        groups = 1
        block = PAGE * sum(amount.layers * amount.token_bytes for amount in amounts)
    blocks = max(free // block, 0)
    per_sequence = -(-each // block)
    return Concurrency(
        sequences=blocks / per_sequence, tokens=blocks // groups * PAGE, blocks=blocks
    )


def _slots(kept: CacheLayout, one: Workload, free: int) -> Concurrency:
    """Return tokens as sglang divides memory: what is free over the bytes of a token."""
    context = context_of(one)
    each = cache_bytes(kept, one) - state_bytes(kept, one)
    tokens = max(free * context // each, 0)
    if kept.recurrent:
        fits = _batches(kept, one, free)
        return Concurrency(sequences=fits.sequences, tokens=int(fits.sequences) * context)
    return Concurrency(sequences=tokens / context, tokens=tokens)


def _batches(kept: CacheLayout, one: Workload, free: int) -> Concurrency:
    """Return the largest batch whose cache fits."""
    low, high = 0, 1
    while high < _MOST and cache_bytes(kept, replace(one, batch=high)) <= free:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if cache_bytes(kept, replace(one, batch=middle)) <= free:
            low = middle
        else:
            high = middle
    return Concurrency(sequences=float(low), tokens=low * context_of(one))
