"""An architecture -> the metadata of its GGUF file, as llama.cpp's converters write them.

What is written is read again: a model that the metadata cannot describe is refused.

References:
    gguf-py/gguf/constants.py and conversion/*.py, github.com/ggml-org/llama.cpp (2026).
"""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec.structs import replace

from explorer.architectures.architecture import Architecture, stages_of
from explorer.architectures.attention_specs import AttentionSpec, RopeSpec
from explorer.architectures.families import architecture_of
from explorer.architectures.families.rotary import yarn_magnitude
from explorer.architectures.rotary_factors import rope_factors
from explorer.errors import InputError, first_few
from explorer.formats.gguf.key_values import GgufValue
from explorer.pretrained.gguf.config import translate
from explorer.pretrained.gguf.decoders import TensorFacts

__all__ = ["NAMES", "describe_model", "windows_lost"]

# what llama.cpp calls the architectures of families; those that explorer can read again
NAMES = {
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "gpt_oss": "gpt-oss",
    "gpt2": "gpt2",
    "gpt_neox": "gptneox",
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "olmo": "olmo",
    "olmo2": "olmo2",
    "olmoe": "olmoe",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
}
# families whose metadata say how long keys and values are
_LENGTHS = frozenset({"gemma", "gemma2", "gemma3_text", "gpt_oss", "qwen3", "qwen3_moe"})
# what the metadata leave open, or keep in other words
_LEFT_OPEN = ("family", "class_name", "dtype", "positions", "unbuilt", "assumptions")
_NO_CONTEXT = 2048  # of a config that does not say how long its sequences are


def describe_model(
    architecture: Architecture, shapes: "Mapping[str, tuple[int, ...]]", place: str
) -> dict[str, GgufValue]:
    """Return the key-value pairs that describe a model, its general ones aside.

    Args:
        architecture: the model.
        shapes: of the tensors that the file will hold, by their names in it.
        place: the file, for errors.

    Raises:
        InputError: llama.cpp's metadata do not describe this model.
    """
    name = NAMES.get(architecture.family)
    if name is None:
        raise InputError(
            place,
            found=f"explorer writes no GGUF metadata for {architecture.family}",
            expected="one of " + ", ".join(sorted(NAMES)),
            cure="safetensors hold it, quantised with nf4 or int8 too; `explorer convert IN OUT.gguf "
            "--names source` writes plain tensors",
        )
    pairs = {f"{name}.{key}": value for key, value in _pairs(architecture)}
    _check(_as_known(architecture), name, pairs, shapes, place)
    return pairs


def windows_lost(architecture: Architecture) -> int:
    """Return the window that llama.cpp does not keep of a Mistral model; 0 for none."""
    if architecture.family != "mistral":
        return 0
    windows = (getattr(block.attention, "window", None) for block in architecture.blocks())
    return next(filter(None, windows), 0)


def _as_known(architecture: Architecture) -> Architecture:
    """Return a model as llama.cpp has it: a Mistral without its window."""
    if not windows_lost(architecture):
        return architecture
    blocks = [
        replace(block, attention=replace(block.attention, window=None))
        for block in architecture.blocks()
    ]
    return replace(architecture, stages=stages_of(blocks))


def _check(
    architecture: Architecture,
    name: str,
    pairs: Mapping[str, GgufValue],
    shapes: Mapping[str, tuple[int, ...]],
    place: str,
) -> None:
    """Refuse metadata that describe another model than the one they were made of."""
    plain = {key: pair.value for key, pair in pairs.items()}
    facts = TensorFacts(shapes, rope_factors(architecture))
    config = translate({"general.architecture": name, **plain}, facts, place)
    again = architecture_of(config, place)
    fields = [
        field
        for field in architecture.__struct_fields__
        if field not in _LEFT_OPEN
        and not _same(getattr(architecture, field), getattr(again, field))
    ]
    if fields:
        raise InputError(
            place,
            found=f"GGUF's metadata would lose what this {architecture.family} has in its "
            + first_few(fields),
            expected="a model as llama.cpp knows its family",
            cure="write safetensors",
        )


def _same(a: object, b: object) -> bool:
    """Return whether records are equal, numbers up to float32."""
    if isinstance(a, float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
    if isinstance(a, msgspec.Struct) and type(a) is type(b):
        return _same(msgspec.structs.astuple(a), msgspec.structs.astuple(b))  # pyright: ignore
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


def _whole(value: int) -> GgufValue:
    return GgufValue("uint32", value)


def _real(value: float) -> GgufValue:
    return GgufValue("float32", value)


def _pairs(architecture: Architecture) -> Iterator[tuple[str, GgufValue]]:
    blocks = list(architecture.blocks())
    first = blocks[0]
    attention = first.attention
    assert isinstance(attention, AttentionSpec)
    norm = first.attention_norm or first.attention_post_norm or first.mlp_norm
    assert norm is not None
    yield "context_length", _whole(architecture.positions or _NO_CONTEXT)
    yield "embedding_length", _whole(architecture.size)
    yield "block_count", _whole(len(blocks))
    if first.mlp is not None:
        yield "feed_forward_length", _whole(first.mlp.up_proj.outputs)
    yield "attention.head_count", _whole(attention.heads)
    yield "attention.head_count_kv", _whole(attention.kv_heads)
    kind = "layer_norm_rms_epsilon" if norm.kind == "rms" else "layer_norm_epsilon"
    yield f"attention.{kind}", _real(norm.eps)
    default = architecture.size // attention.heads
    if architecture.family in _LENGTHS or attention.head_size != default:
        yield "attention.key_length", _whole(attention.head_size)
        yield "attention.value_length", _whole(attention.head_size)
    if architecture.embed is not None:
        yield "vocab_size", _whole(architecture.embed.rows)
    yield from _positions(architecture)
    yield from _experts(architecture)
    yield from _own(architecture)


def _positions(architecture: Architecture) -> Iterator[tuple[str, GgufValue]]:
    """Yield the keys of rotary positions: those of full attention, then of windows."""
    ropes: dict[bool, RopeSpec] = {}
    for block in architecture.blocks():
        if block.attention.rope is not None:
            window = getattr(block.attention, "window", None)
            ropes.setdefault(window is not None, block.attention.rope)
    if not ropes:
        return
    rope = ropes.get(False) or ropes[True]
    yield "rope.dimension_count", _whole(rope.size)
    yield "rope.freq_base", _real(rope.theta)
    windowed = ropes.get(True, rope)
    if windowed.theta not in (rope.theta, 10_000.0):
        yield "rope.freq_base_swa", _real(windowed.theta)
    scaling = rope.scaling
    if scaling is None:
        return
    if scaling.kind in ("linear", "yarn"):
        yield "rope.scaling.type", GgufValue("string", scaling.kind)
        yield "rope.scaling.factor", _real(scaling.factor)
    if scaling.kind in ("yarn", "longrope"):
        yield "rope.scaling.original_context_length", _whole(scaling.original)
    if scaling.kind == "yarn":
        for key, value, usual in (
            ("yarn_beta_fast", scaling.beta_fast, 32.0),
            ("yarn_beta_slow", scaling.beta_slow, 1.0),
            ("yarn_attn_factor", scaling.magnitude, yarn_magnitude(scaling.factor)),
        ):
            if value != usual:
                yield f"rope.scaling.{key}", _real(value)
    if scaling.kind == "longrope":
        yield "rope.scaling.attn_factor", _real(scaling.magnitude)


def _experts(architecture: Architecture) -> Iterator[tuple[str, GgufValue]]:
    moe = next((block.moe for block in architecture.blocks() if block.moe), None)
    if moe is None:
        return
    inner = moe.experts.up_proj.outputs
    yield "expert_count", _whole(moe.router.experts)
    yield "expert_used_count", _whole(moe.router.per_token)
    if architecture.family in ("mixtral", "olmoe"):
        yield "feed_forward_length", _whole(inner)
    else:
        yield "expert_feed_forward_length", _whole(inner)


def _own(architecture: Architecture) -> Iterator[tuple[str, GgufValue]]:
    """Yield what only some families have."""
    blocks = list(architecture.blocks())
    attentions = [b.attention for b in blocks if isinstance(b.attention, AttentionSpec)]
    window = next((each.window for each in attentions if each.window is not None), None)
    if window is not None and not windows_lost(architecture):
        yield "attention.sliding_window", _whole(window)
    if attentions[0].softcap is not None:
        yield "attn_logit_softcapping", _real(attentions[0].softcap)
    if architecture.logit_softcap is not None:
        yield "final_logit_softcapping", _real(architecture.logit_softcap)
    if attentions[0].clip is not None:
        yield "attention.clamp_kqv", _real(attentions[0].clip)
    if architecture.family == "gpt_neox":
        yield "use_parallel_residual", GgufValue("bool", blocks[0].parallel)
