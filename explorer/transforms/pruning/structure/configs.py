"""A Hugging Face config -> that of the model without the units that are removed.

The fields that say how many units there are get their new numbers. Whether that describes the
pruned model is then asked of the family itself: it is refused if not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from explorer.architectures.architecture import Architecture
from explorer.architectures.attention_specs import AttentionSpec
from explorer.architectures.families import architecture_of
from explorer.errors import InputError
from explorer.transforms.pruning.patterns import Pattern
from explorer.transforms.pruning.structure.architectures import shrunk

__all__ = ["check_heads_divide", "shrunk_config"]

_WIDTHS = ("intermediate_size", "moe_intermediate_size", "n_inner", "ffn_dim", "hidden_dim")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
# whose configs transformers (5.23) refuses where the heads do not divide the width
_HEADS_DIVIDE = ("llama", "gemma2", "gemma3_text", "gpt_neox", "deepseek_v2")
_SCALES_BY_WIDTH = ("gpt2", "gptj")


def shrunk_config(
    config: Mapping[str, Any], pattern: Pattern, layers: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return the config of a model from which units were removed.

    Args:
        config: the content of a config.json.
        pattern, layers: as of `shrunk`.

    Raises:
        InputError: as `shrunk`; also a model whose configs cannot say what is left of it.

    >>> from explorer.transforms.pruning.patterns import parse_pattern
    >>> llama = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
    ...          "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    >>> found = shrunk_config(llama, parse_pattern("heads:0.5"))
    >>> found["num_attention_heads"], found["num_key_value_heads"], found["head_dim"]
    (2, 2, 16)
    """
    before = architecture_of(config)
    wanted = shrunk(before, pattern, layers)
    check_heads_divide(before, wanted, pattern)
    found = dict(config)
    for changed in _variants(found, pattern, before, wanted, layers):
        if _describes(changed, wanted):
            return changed
    raise InputError(
        "config",
        found=f"{config.get('model_type')} has no fields for the model that {pattern.text} leaves",
        expected="units that its config counts as one number for all layers",
        cure="prune rows or layers, or set entries to zero",
    )


def check_heads_divide(before: Architecture, after: Architecture, pattern: Pattern) -> None:
    """Refuse a number of heads of which the family's config class makes no model.

    Raises:
        InputError: the heads that are left do not divide the width, and transformers wants it.
    """
    if pattern.kind != "heads" or before.family not in _HEADS_DIVIDE:
        return
    had, heads = (next(each.blocks()).attention.heads for each in (before, after))
    if before.size % heads:
        fitting = [n for n in range(1, had) if before.size % n == 0]
        raise InputError(
            "pattern",
            found=f"{pattern.text} leaves {heads} heads, which do not divide a width of {before.size}",
            expected=f"{', '.join(map(str, fitting))} of {had} heads: transformers loads no others",
            cure=f"choose a share such as heads:{1 - fitting[-1] / had:g}",
        )


def _describes(config: Mapping[str, Any], wanted: Architecture) -> bool:
    try:
        return architecture_of(config) == wanted
    except InputError:
        return False


def _variants(
    config: dict[str, Any],
    pattern: Pattern,
    before: Architecture,
    wanted: Architecture,
    layers: Sequence[int] | None,
) -> list[dict[str, Any]]:
    """Return the configs that may describe the model, the plainest first."""
    match pattern.kind:
        case "rows" | "columns":
            return [_narrowed(config, pattern, before)]
        case "heads":
            plain = config | _head_fields(config, wanted)
            size = {"head_dim": _attention(wanted).head_size} if _has_heads(wanted) else {}
            return [plain | size, plain]
        case "experts":
            router = wanted.router
            assert router is not None
            return [config | {name: router.experts for name in _EXPERTS if name in config}]
        case _:
            return _fewer_layers(config, before, wanted, layers)


def _narrowed(
    config: dict[str, Any], pattern: Pattern, before: Architecture
) -> dict[str, Any]:
    found = dict(config)
    for name in _WIDTHS:
        value = config.get(name)
        if isinstance(value, int):
            found[name] = value - pattern.number(value)
    if before.family in _SCALES_BY_WIDTH and not isinstance(config.get("n_inner"), int):
        found["n_inner"] = 4 * before.size - pattern.number(4 * before.size)
    return found


def _head_fields(config: Mapping[str, Any], wanted: Architecture) -> dict[str, Any]:
    block = next(wanted.blocks())
    heads = block.attention.heads
    found: dict[str, Any] = {name: heads for name in _HEADS if name in config}
    if isinstance(block.attention, AttentionSpec):
        return found | {"num_key_value_heads": block.attention.kv_heads}
    return found | {"num_key_value_heads": heads}


def _attention(architecture: Architecture) -> AttentionSpec:
    attention = next(architecture.blocks()).attention
    assert isinstance(attention, AttentionSpec)
    return attention


def _has_heads(architecture: Architecture) -> bool:
    return isinstance(next(architecture.blocks()).attention, AttentionSpec)


def _fewer_layers(
    config: dict[str, Any],
    before: Architecture,
    wanted: Architecture,
    layers: Sequence[int] | None,
) -> list[dict[str, Any]]:
    kept = range(wanted.num_layers) if layers is None else layers
    found = config | {name: wanted.num_layers for name in _LAYERS if name in config}
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return [found | {"layer_types": [kinds[index] for index in kept]}]
    dense = [index for index, block in enumerate(before.blocks()) if block.moe is None]
    if "first_k_dense_replace" in config:
        found["first_k_dense_replace"] = sum(index in dense for index in kept)
    if "mlp_only_layers" in config:
        found["mlp_only_layers"] = [new for new, old in enumerate(kept) if old in dense]
    windows = [getattr(block.attention, "window", None) for block in wanted.blocks()]
    words = [
        "full_attention" if window is None else "sliding_attention" for window in windows
    ]
    return [found, found | {"layer_types": words}]
