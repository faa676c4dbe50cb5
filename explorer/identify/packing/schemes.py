"""The table of schemes: how a layer's packed weight, scale and other state are named.

Every scheme keeps a scale beside the weight, and the scale's name leads to it. Names
are joined by "/" and begin with it; an ending is cut off to get the layer's stem.
"""

from typing import NamedTuple

from explorer.identify.packing.arrays import read_array, read_ggml
from explorer.identify.packing.evidence import Reader
from explorer.identify.packing.floats import read_blocks, read_microscaled, read_scaled
from explorer.identify.packing.kernels import (
    read_bitblas,
    read_bitnet,
    read_eetq,
    read_exl2,
    read_gemv_fast,
    read_lookup,
    read_marlin,
    read_marlin_24,
    read_quanto,
    read_sinq,
    read_svdquant,
)
from explorer.identify.packing.nibbles import (
    read_bitsandbytes,
    read_bitsandbytes_int8,
    read_bytes,
    read_hqq,
    read_modelopt,
    read_torchao,
)
from explorer.identify.packing.vectors import (
    read_aqlm,
    read_bitmask,
    read_exl3,
    read_higgs,
    read_qtip,
    read_quip,
    read_spqr,
    read_vptq,
)
from explorer.identify.packing.words import read_awq, read_compressed, read_gptq, read_mlx

__all__ = ["CACHE_SCALES", "SCHEMES", "Scheme"]


class Scheme(NamedTuple):
    """A naming: endings of the scale, the weight, the rest; readers in order of trial.

    `tables` are the part of the rest that may be of any size: codebooks and the like.
    """

    scale: str
    weight: str
    state: tuple[str, ...]
    readers: tuple[Reader, ...]
    tables: tuple[str, ...] = ()


def _endings(names: str, before: str = "/") -> tuple[str, ...]:
    return tuple(before + name for name in names.split())


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
# torchao writes "weight" as _weight_qdata, _weight_scale ...
_TORCHAO = _endings(
    "zero_point act_pre_scale per_tensor_scale act_per_tensor_scale act_quant_scale "
    "act_quant_zero_point output_act_quant_scale group_zero row_scale",
    "_",
)
_ANY = (read_microscaled, read_scaled)
_QUIP = _endings("SV Wscale codebook_id ocs_dupe_inds scaleWH fuse_scales")
_SVDQUANT = _endings(
    "smooth_factor smooth_factor_orig smooth smooth_orig wcscales wtscale wzeros"
)
_BRANCHES = _endings("proj_down proj_up lora_down lora_up")
_VPTQ = _endings(
    "perm weight_scale weight_bias bias outlier_indices outlier_centroids/weight"
)
_QUANTIZERS = tuple(
    f"/{part}_quantizer/{name}"
    for part in ("weight", "input", "output", "bias")
    for name in ("scale", "zero_point")
)
_FP_QUANT = _endings("weight_global_scale act_global_scale qzeros g_idx scaled_zeros")
_HADAMARD = _endings("forward_hadamard_matrix backward_hadamard_matrix")
_SINQ = _endings("meta/zero meta/scale2 meta/awq_scale")

# The more particular naming comes first: a tensor is claimed once.
SCHEMES = (
    Scheme("/suh", "/trellis", _endings("svh sv mcg mul1"), (read_exl3,)),
    Scheme("/su", "/trellis", _endings("svh sv mcg mul1"), (read_exl3,)),
    Scheme("/SU", "/trellis", _endings("SV rcp tp_rank"), (read_qtip,), ("/tlut",)),
    Scheme("/SU", "/Qidxs", _QUIP, (read_quip,), _endings("A B")),
    Scheme("/scales", "/codes", (), (read_aqlm,), ("/codebooks",)),
    Scheme(
        "/centroids/weight",
        "/indices",
        _VPTQ,
        (read_vptq,),
        _endings("centroids/weight res_centroids/weight res_indices"),
    ),
    Scheme(
        "/in_perm", "/dense_weights", (), (read_spqr,), _endings("row_offsets col_vals")
    ),
    Scheme(
        "/q_scale",
        "/q_weight",
        _endings("q_scale_max q_groups q_perm q_invperm q_group_map"),
        (read_exl2,),
    ),
    Scheme("/s", "/B", ("/workspace",), (read_marlin,)),
    Scheme("/s", "/B_24", ("/workspace",), (read_marlin_24,), ("/B_meta",)),
    Scheme("/scale_packed", "/weight_packed", (), (read_marlin_24,), ("/meta",)),
    Scheme("/wscales", "/qweight", _SVDQUANT, (read_svdquant,), _BRANCHES),
    Scheme("/bitmask", "/compressed", _endings("row_offsets shape"), (read_bitmask,)),
    Scheme("/_scale", "/_data/_data", ("/_shift",), (read_quanto,)),
    Scheme("/_scale", "/_data", (), (read_scaled,)),
    Scheme("/meta/scale", "/W_q", _SINQ, (read_sinq,)),
    Scheme("/scale", "/qvalue", ("/zero_point",), (read_array,)),
    Scheme("/scale/value", "/qvalue/value", ("/zero_point/value",), (read_array,)),
    Scheme("/scale/0", "/qvalue", _endings("scale/1 bias/0"), (read_array,)),
    Scheme(
        "/qrhs/scale", "/qrhs/value", _endings("qrhs/zero_point qrhs/bias"), (read_array,)
    ),
    Scheme("/weight_scale_inv", "/weight", _endings("input_scale activation_scale"), _ANY),
    Scheme(
        "/weight_scale", "/weight_packed", _COMPRESSED, (read_compressed, read_microscaled)
    ),
    Scheme(
        "/weight_scale", "/weight", _LINEAR, (*_ANY, read_modelopt, read_bitnet, read_bytes)
    ),
    Scheme("/weight_quantizer/scale", "/weight", _QUANTIZERS, (*_ANY, read_bitnet)),
    Scheme("/weight_scales", "/weight", (), (read_eetq,)),
    Scheme("/weight_scales", "/qweight", (), (read_eetq,)),
    Scheme("_scale", "_qdata", _TORCHAO, (read_torchao, *_ANY), ("_sparse_metadata",)),
    Scheme("_scale_and_zero", "_qdata", ("_act_pre_scale",), (read_torchao,)),
    Scheme("/scales_and_zeros", "/weight", (), (read_torchao,)),  # gpt-fast
    Scheme("/lookup_table", "/qweight", _endings("rows cols vals"), (read_lookup,)),
    Scheme("/scales", "/weight", _endings("tables bias"), (read_higgs,), ("/tables2",)),
    Scheme(
        "/scales",
        "/qweight",
        _FP_QUANT,
        (
            read_gptq,
            read_awq,
            read_marlin,
            read_gemv_fast,
            read_bitblas,
            read_microscaled,
            read_scaled,
        ),
        _HADAMARD,
    ),
    Scheme("/scales", "/weight", _endings("biases qbiases"), (read_mlx, read_microscaled)),
    Scheme("/scale", "/qweight", (), (read_scaled,)),
    Scheme("_scale", "_quantized", (), (*_ANY, read_bytes)),
    Scheme("/scales", "/W_q", _endings("zeros metadata orig_shape"), (read_gptq,)),
    Scheme("/scale", "/W_q", _HQQ, (read_hqq,)),
    Scheme("/scale", "/weight", ("/input_scale",), (*_ANY, read_ggml)),
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
