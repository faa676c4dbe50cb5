"""An architecture and a workload -> the terms of its cache."""

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.architectures.attention_specs import AttentionSpec
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload

__all__ = ["cache_terms"]


def cache_terms(
    architecture: Architecture, workload: Workload, placement: Placement
) -> tuple[Term, ...]:
    """Return what keys and values of all layers take for a workload's sequences."""
    assert workload.context is not None
    dtype = dtypes.find(workload.kv_dtype or workload.dtype or architecture.dtype)
    elements = 0
    for block in architecture.blocks():
        attention = block.attention
        if isinstance(attention, AttentionSpec):
            tokens = min(workload.context, attention.window or workload.context)
            elements += 2 * attention.kv_heads * attention.head_size * tokens
    return (Term.exact("kv_cache", dtype.nbytes(elements * workload.batch)),)
