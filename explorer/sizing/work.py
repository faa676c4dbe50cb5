"""A plan -> what one step of its model reads and computes."""

from explorer.analyses.active import multiplied_parameters
from explorer.architectures.architecture import Architecture
from explorer.architectures.attention_specs import AttentionSpec
from explorer.sizing.cache.engines import sequences_of, tokens_of
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import MemoryPlan, TermName
from explorer.sizing.speed.bounds import ModelWork
from explorer.sizing.subject import Subject
from explorer.sizing.terms import Built

__all__ = ["attention_width", "work_of"]

_WEIGHTS: tuple[TermName, ...] = ("parameters", "quantization")
_CACHE: tuple[TermName, ...] = ("kv_cache", "recurrent_state")


def work_of(
    subject: Subject, built: Built, plan: MemoryPlan, placement: Placement
) -> ModelWork:
    """Return what a step reads on the fullest device, and what all devices compute."""
    workload = plan.workload
    sequences = workload.batch if workload.train else sequences_of(workload)
    tokens = tokens_of(workload) if workload.context else 1
    here = -(-sequences // placement.size("data", "fsdp"))
    share = _share(plan, _WEIGHTS)
    read = built.weights.bytes_read(here)
    prompts = built.weights.bytes_read(here * tokens) or 0.0
    cache = sum(
        term.low * term.on_device / term.bytes
        for term in plan.terms
        if term.name in _CACHE and term.bytes
    )
    return ModelWork(
        active_parameters=multiplied_parameters(subject.inventory),
        trainable_parameters=plan.trainable_parameters if workload.lora else None,
        attention_width=attention_width(subject.architecture),
        sequences=sequences,
        tokens=None if workload.train else tokens,
        step_bytes=None if read is None else read * share + cache,
        weight_bytes=prompts * share,
        is_causal=any(term.name in _CACHE and term.bytes for term in plan.terms),
        stored_as=max(
            plan.by_type, key=lambda name: plan.by_type[name].elements, default=""
        ),
    )


def _share(plan: MemoryPlan, names: tuple[TermName, ...]) -> float:
    """Return the share of terms that the fullest device holds."""
    held = sum(term.on_device for term in plan.terms if term.name in names)
    total = sum(term.bytes for term in plan.terms if term.name in names)
    return held / total if total else 1.0


def attention_width(architecture: Architecture | None) -> int:
    """Return heads x head size summed over the layers; of unequal keys and values, their mean."""
    width = 0
    for block in architecture.blocks() if architecture is not None else ():
        attention = block.attention
        if isinstance(attention, AttentionSpec):
            width += attention.heads * attention.head_size
        else:
            keys = attention.nope + attention.rope.size
            width += attention.heads * (keys + attention.value_size) // 2
    return width
