"""How long a sequence may be: the positions that a model was made for."""

from explorer.architectures.architecture import Architecture
from explorer.sizing.cache.layers import CacheLayout, kept_of
from explorer.sizing.records import Workload

__all__ = ["cache_notes", "context_or_default"]

_CONTEXT = 4096


def context_or_default(model: Architecture | CacheLayout | None, workload: Workload) -> int:
    """Return the tokens of a sequence: as asked for, else 4,096 or all positions, the fewer.

    >>> from explorer.architectures.resolve import resolve
    >>> context_or_default(resolve("gpt2").architecture, Workload())
    1024
    """
    if workload.context is not None:
        return workload.context
    positions = _positions(model)
    return _CONTEXT if positions is None else min(_CONTEXT, positions)


def cache_notes(model: Architecture | CacheLayout, workload: Workload) -> tuple[str, ...]:
    """Return warnings about a context, and what a cache's figures leave out.

    >>> from explorer.architectures.resolve import resolve
    >>> cache_notes(resolve("gpt2").architecture, Workload(context=2048))
    ('a context of 2,048 tokens is beyond the 1,024 positions of gpt2',)
    """
    kept = model if isinstance(model, CacheLayout) else kept_of(model)
    notes = _unused(workload)
    context, positions = workload.context, kept.positions
    if context is not None and positions is not None and context > positions:
        notes.append(
            f"a context of {context:,} tokens is beyond the {positions:,} positions of "
            f"{kept.family}"
        )
    if kept.family in ("t5", "mt5", "umt5"):
        notes.append("the encoder is taken to read as many tokens as the context")
    if kept.recurrent and workload.engine == "vllm":
        notes.append(
            "vllm makes pages of keys and of states equally large: its padding is left out"
        )
    return tuple(notes)


def _unused(workload: Workload) -> list[str]:
    """Return what was asked of llama.cpp's slots alone, where another engine has none."""
    asked = {"parallel": workload.parallel > 1, "kv_unified": workload.kv_unified}
    return [
        f"{name} changes nothing: {workload.engine} has no slots that share a context"
        for name, is_asked in asked.items()
        if is_asked and workload.engine != "llama.cpp"
    ]


def _positions(model: Architecture | CacheLayout | None) -> int | None:
    """Return the longest sequence; an image's is fixed."""
    return None if model is None else model.positions
