"""The table of schemes: how a layer's packed weight, scale and other state are named.

Every scheme keeps a scale beside the weight, and the scale's name leads to it. Names
are joined by "/" and begin with it; an ending is cut off to get the layer's stem.
"""

from typing import NamedTuple

from explorer.identify.packing.evidence import Reader
from explorer.identify.packing.floats import read_blocks, read_microscaled, read_scaled
from explorer.identify.packing.nibbles import (
    read_bitsandbytes,
    read_bitsandbytes_int8,
    read_hqq,
    read_modelopt,
    read_torchao,
)
from explorer.identify.packing.words import read_awq, read_compressed, read_gptq, read_mlx

__all__ = ["CACHE_SCALES", "SCHEMES", "Scheme"]


class Scheme(NamedTuple):
    """A naming: endings of the scale, the weight, the rest; readers in order of trial."""

    scale: str
    weight: str
    state: tuple[str, ...]
    readers: tuple[Reader, ...]


def _endings(names: str) -> tuple[str, ...]:
    return tuple("/" + name for name in names.split())


_COMPRESSED = _endings(
    "weight_shape weight_zero_point weight_g_idx weight_global_scale input_global_scale "
    "input_scale input_zero_point output_scale output_zero_point"
)
_LINEAR = _endings(
    "weight_scale_2 weight_zero_point weight_g_idx input_scale input_zero_point "
    "input_scale_ub output_scale output_zero_point pre_quant_scale"
)
_BITSANDBYTES = _endings(
    "quant_map nested_absmax nested_quant_map "
    "quant_state/bitsandbytes__nf4 quant_state/bitsandbytes__fp4"
)
_HQQ = _endings(
    "zero nbits group_size shape axis packing unpack_view_dtype view_as_float quant_scale "
    "quant_zero compute_dtype offload_meta encoded_state_dict stores_quant_config "
    "channel_wise optimize round_zero"
)
_TORCHAO = _endings("_weight_zero_point _weight_act_pre_scale")
_ANY = (read_microscaled, read_scaled)

# The more particular naming comes first: a tensor is claimed once.
SCHEMES = (
    Scheme("/weight_scale_inv", "/weight", _endings("input_scale activation_scale"), _ANY),
    Scheme(
        "/weight_scale", "/weight_packed", _COMPRESSED, (read_compressed, read_microscaled)
    ),
    Scheme("/weight_scale", "/weight", _LINEAR, (*_ANY, read_modelopt)),
    Scheme("/_weight_scale", "/_weight_qdata", _TORCHAO, (read_torchao, *_ANY)),
    Scheme(
        "/scales", "/qweight", _endings("qzeros g_idx"), (read_gptq, read_awq, read_scaled)
    ),
    Scheme("/scales", "/weight", ("/biases",), (read_mlx, read_microscaled)),
    Scheme("/scale", "/qweight", (), (read_scaled,)),
    Scheme("/scale", "/W_q", _HQQ, (read_hqq,)),
    Scheme("/scale", "/weight", (), _ANY),
    Scheme("/absmax", "", _BITSANDBYTES, (read_bitsandbytes,)),
    Scheme("/SCB", "/weight", ("/weight_format",), (read_bitsandbytes_int8,)),
    Scheme("_scales", "_blocks", (), (read_blocks,)),
    # experts fused into one tensor: gate_up_proj, gate_up_proj_scale
    Scheme("_weight_scale", "", ("_weight_scale_2", "_input_scale"), _ANY),
    Scheme("_scale_inv", "", (), _ANY),
    Scheme("_scales_inv", "", (), _ANY),
    Scheme("_scale", "", ("_input_scale",), _ANY),
    Scheme("_scales", "", (), _ANY),
)

# Scales of an attention's cache belong to no weight.
CACHE_SCALES = _endings("k_scale v_scale q_scale kv_scale k_zero_point v_zero_point")
