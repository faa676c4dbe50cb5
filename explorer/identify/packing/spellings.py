"""What the last names of quantized layers' tensors say, however a library spells them."""

import re
from functools import lru_cache

__all__ = [
    "is_index",
    "is_packed_name",
    "is_scale",
    "is_scale_of_layer",
    "is_state",
    "is_weight",
    "usual_name",
]

# scale_weight, weightScale: ComfyUI and others turn round what most spell weight_scale
_REVERSED = re.compile(
    r"(scales?(?:_inv)?)_(weight|kernel|w|input|in|output|out|activation|act|bias)"
)
_CAMEL = re.compile(r"(weight|kernel|input|output|activation)(Scales?)")
_SCALE = re.compile(r"scal(e|ing)(?!_shift)|absmax|(^|_)(sf|amax)(_|$)", re.IGNORECASE)
_OF_LAYER = re.compile(
    r"(^|_)(weight|kernel|inputs?|outputs?|activations?|act|quant|dequant)(_|$)",
    re.IGNORECASE,
)
_FORMATS = r"q|quant|quantized|packed|u?int[2-8]|nf[2-8]|fp[2-8]"
_WEIGHTS = r"weights?|kernels?|w|data|values?|zeros|scales|embeddings?"
_PACKED = re.compile(
    rf"(^|_)({_FORMATS})_?({_WEIGHTS})$|(^|_)({_WEIGHTS})_({_FORMATS})$"
    r"|^(trellis|Qidxs|codes|B_24|B_meta|dense_weights|g_idx|SCB|quant_map|tlut)$"
    r"|_blocks$",
    re.IGNORECASE,
)
_WEIGHT = re.compile(rf"^({_WEIGHTS}|_data|table|qvalue|array)$", re.IGNORECASE)
_INDEX = re.compile(
    r"(^|_)(ind(ex|ices)|idx|ids?|masks?|positions?|coords?|table|buckets?|anchors?|tokens?|"
    r"labels?|counts?|steps?|order|offsets?|lengths?|seed|rng|key|vocab|bias)(_|$)",
    re.IGNORECASE,
)
# what stands beside packed words and is neither a scale nor a parameter of its own
_STATE = re.compile(
    r"zeros?($|_)|zero_?points?|shift$|codebooks?|centroids?|^s[uv]h?$|tables?\d?$|lut\d*$|"
    r"^(s|min|max|meta|workspace|perm|scaleWH|fuse_scales|codebook_id|mcg|mul1)$|"
    r"(inv)?perm$|hadamard|smooth|^proj_(up|down)$|^lora_(up|down)$|_?groups?$|indices$|"
    r"quantizer|quant_state|weight_bias$|col_vals|row_offsets|bitmask|rcp|tp_rank",
    re.IGNORECASE,
)


def usual_name(name: str) -> str:
    """Return a name of a scale as most libraries spell it.

    >>> usual_name("scale_weight"), usual_name("weightScale"), usual_name("scale")
    ('weight_scale', 'weight_scale', 'scale')
    """
    found = _REVERSED.fullmatch(name)
    if found:
        return f"{found[2]}_{found[1]}"
    found = _CAMEL.fullmatch(name)
    return f"{found[1]}_{found[2].lower()}" if found else name


@lru_cache(maxsize=4096)
def is_scale(name: str) -> bool:
    """Return whether scales are called so: `Wscale`, `kernel_scale_inv`, `weight_sf`."""
    return _SCALE.search(name) is not None


@lru_cache(maxsize=4096)
def is_scale_of_layer(name: str) -> bool:
    """Return whether a name says that it scales weights, inputs or outputs."""
    return is_scale(name) and _OF_LAYER.search(usual_name(name)) is not None


@lru_cache(maxsize=4096)
def is_state(name: str) -> bool:
    """Return whether a quantized layer's own state is called so."""
    return is_scale(name) or _STATE.search(name) is not None


@lru_cache(maxsize=4096)
def is_packed_name(name: str) -> bool:
    """Return whether integers of this name are packed weights: `qweight`, `trellis`."""
    return _PACKED.search(name) is not None


@lru_cache(maxsize=4096)
def is_weight(name: str) -> bool:
    """Return whether a parameter that multiplies is called so."""
    return _WEIGHT.match(name) is not None or is_packed_name(name)


@lru_cache(maxsize=4096)
def is_index(name: str) -> bool:
    """Return whether integers of this name are indices, masks or counters."""
    return _INDEX.search(name) is not None
