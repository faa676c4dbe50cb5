"""Quantised tensors as the files of other libraries have them: names, layouts, and the config.

References:
    bitsandbytes 0.50, functional.py (QuantState.as_dict), nn/modules.py (Linear8bitLt);
    compressed-tensors 0.20, compressors/; deepseek-ai/DeepSeek-V3, config.json;
    openai/gpt-oss-20b, model.safetensors.index.json (2025).
"""

import json
from typing import Any

import numpy as np

from explorer.errors import InputError
from explorer.transforms.quantisation.codecs import codec_of
from explorer.transforms.quantisation.float8 import Float8
from explorer.transforms.quantisation.four_bit import CODES, FourBit
from explorer.transforms.quantisation.integers import Integers, unpacked
from explorer.transforms.quantisation.microscaling import MXFP4, NVFP4
from explorer.transforms.quantisation.pieces import to_host
from explorer.transforms.quantisation.quantized import Quantized

__all__ = [
    "computing_dtype",
    "file_parts",
    "loading_note",
    "parts_of",
    "quantization_config",
]

_WEIGHT = ".weight"


def file_parts(scheme: str, name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a file holds of a tensor under a scheme, by the library's own names.

    Args:
        scheme: as `ex.quantize` reads it.
        name: of the tensor: "model.layers.0.mlp.up_proj.weight".
        rows: [outputs, inputs], as PyTorch keeps a layer's weight; a leading axis for experts.

    Raises:
        InputError: no library has a layout for the scheme, or its groups do not divide the rows.

    >>> parts = file_parts("int8", "up.weight", np.eye(4, dtype="float32"))
    >>> {name: (part.dtype.name, part.shape) for name, part in parts.items()}
    {'up.weight': ('int8', (4, 4)), 'up.SCB': ('float32', (4,)), 'up.weight_format': ('uint8', ())}
    """
    return parts_of(name, Quantized.of(rows, scheme))


def parts_of(name: str, tensor: Quantized) -> dict[str, np.ndarray]:
    """Return what a file holds of a quantised tensor, by the library's own names.

    Raises:
        InputError: no library has a layout for its scheme.
    """
    layout, parts = tensor.codec.layout, {n: to_host(p) for n, p in tensor.parts.items()}
    match layout:
        case FourBit():
            found = _of_bitsandbytes(layout, parts, tensor)
        case Integers(wide=True, asymmetric=False, group=0):
            return _of_llm_int8(name, parts)
        case Integers(group=None):
            found = {"": parts["values"], "_scale": layout.steps(parts).reshape(-1)}
            if layout.asymmetric:
                found["_zero_point"] = parts["zero_points"].reshape(-1)
        case Integers():
            found = _of_packed(layout, parts, tensor)
        case Float8():
            suffix = "_scale_inv" if layout.spread == "block" else "_scale"
            scales = (
                parts["scales"]
                if layout.spread != "tensor"
                else parts["scales"].reshape(-1)
            )
            found = {"": parts["values"], suffix: scales}
        case MXFP4() if not name.endswith(_WEIGHT):
            blocks = parts["values"].reshape(*parts["scales"].shape, 16)
            return {f"{name}_blocks": blocks, f"{name}_scales": parts["scales"]}
        case MXFP4():
            found = {"_packed": parts["values"], "_scale": parts["scales"]}
        case NVFP4():
            # compressed-tensors divides by the scale of the tensor
            whole = np.float32(1) / parts["global_scale"]
            found = {
                "_packed": parts["values"],
                "_scale": parts["scales"],
                "_global_scale": whole,
            }
        case _:
            raise _no_layout(tensor.scheme)
    if not name.endswith(_WEIGHT):
        name += _WEIGHT
    return {f"{name}{suffix}": part for suffix, part in found.items()}


def _no_layout(scheme: str) -> InputError:
    return InputError(
        "quantize",
        found=f"{scheme} has no layout in a safetensors file",
        expected="nf4, int8, int4, fp8, mxfp4 or nvfp4; GGUF holds llama.cpp's types",
    )


def _of_bitsandbytes(
    layout: FourBit, parts: dict[str, np.ndarray], tensor: Quantized
) -> dict[str, np.ndarray]:
    if len(tensor.shape) != 2:
        raise InputError(
            "quantize", found=f"bitsandbytes has no stacks {list(tensor.shape)}"
        )
    state: dict[str, Any] = {
        "quant_type": layout.kind,
        "blocksize": layout.block,
        "dtype": tensor.kind,
        "shape": list(tensor.shape),
    }
    found = {
        "": parts["values"].reshape(-1, 1),
        ".absmax": parts["scales"],
        ".quant_map": np.array(CODES[layout.kind], np.float32),
    }
    if layout.double:
        found[".nested_absmax"] = parts["nested_scales"]
        found[".nested_quant_map"] = parts["table"]
        state |= {
            "nested_blocksize": 256,
            "nested_dtype": "float32",
            "nested_offset": float(parts["offset"][0]),
        }
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    return {**found, f".quant_state.bitsandbytes__{layout.kind}": text}


def _of_llm_int8(name: str, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    stem = name.removesuffix(_WEIGHT)
    return {
        f"{stem}.weight": parts["values"],
        f"{stem}.SCB": parts["scales"].reshape(-1),
        f"{stem}.weight_format": np.array(0, np.uint8),  # of rows
    }


def _of_packed(
    layout: Integers, parts: dict[str, np.ndarray], tensor: Quantized
) -> dict[str, np.ndarray]:
    inputs = tensor.matrix[0 if tensor.inputs_first else 1]
    if layout.group and inputs % layout.group:
        raise InputError(
            "quantize",
            found=f"compressed-tensors has no groups of {layout.group} in {inputs:,} inputs",
            expected="a group that divides them, or int4:channel",
        )
    values = unpacked(parts["values"], layout.bits, inputs)
    scales = layout.steps(parts).astype(parts["scales"].dtype)
    found = {
        "_packed": in_words(values, layout.bits),
        "_scale": scales,
        "_shape": np.array(values.shape, np.int64),
    }
    if "zero_points" in parts:
        zeros = in_words(parts["zero_points"].T, layout.bits)
        found["_zero_point"] = np.ascontiguousarray(zeros.T)
    return found


def in_words(values: np.ndarray, bits: int) -> np.ndarray:
    """Return signed integers packed along the last axis in words of 32 bits, the first lowest.

    >>> in_words(np.array([[-8, -7, -6]], np.int8), 4).tolist()
    [[528]]
    """
    codes = (values.astype(np.int16) + (1 << bits - 1)).astype(np.uint32)
    per_word = 32 // bits
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % per_word)))
    groups = padded.reshape(len(codes), -1, per_word)
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    return np.bitwise_or.reduce(groups << shifts, axis=-1).view(np.int32)


def quantization_config(
    scheme: str, ignore: tuple[str, ...] = ("lm_head",)
) -> dict[str, Any]:
    """Return the `quantization_config` of a config.json whose weights `file_parts` wrote.

    Args:
        scheme: as `ex.quantize` reads it.
        ignore: modules that stay as they are.

    Raises:
        InputError: no library reads such weights.

    >>> quantization_config("nf4:double")["bnb_4bit_use_double_quant"]
    True
    """
    layout = codec_of(scheme).layout
    match layout:
        case FourBit():
            return {
                "quant_method": "bitsandbytes",
                "load_in_4bit": True,
                "load_in_8bit": False,
                "bnb_4bit_quant_type": layout.kind,
                "bnb_4bit_use_double_quant": layout.double,
                "bnb_4bit_compute_dtype": "bfloat16",
                "bnb_4bit_quant_storage": "uint8",
                "llm_int8_skip_modules": list(ignore),
            }
        case Integers(wide=True, asymmetric=False, group=0):
            return {
                "quant_method": "bitsandbytes",
                "load_in_4bit": False,
                "load_in_8bit": True,
                "llm_int8_threshold": 6.0,
                "llm_int8_skip_modules": list(ignore),
            }
        case Float8(e5m2=False, spread="block"):
            return {
                "quant_method": "fp8",
                "fmt": "e4m3",
                "activation_scheme": "dynamic",
                "weight_block_size": [128, 128],
                "modules_to_not_convert": list(ignore),
            }
    weights, form = _weights(layout, scheme)
    group = {"targets": ["Linear"], "weights": weights, "format": form}
    group |= {"input_activations": None, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": list(ignore),
        "kv_cache_scheme": None,
    }


def computing_dtype(scheme: str) -> str | None:
    """Return the dtype that a config must name for a library to run such weights; None for any.

    compressed-tensors decodes four-bit floats to bfloat16, and a model in another dtype fails.

    >>> computing_dtype("mxfp4"), computing_dtype("nf4")
    ('bfloat16', None)
    """
    is_float4 = isinstance(codec_of(scheme).layout, MXFP4 | NVFP4)
    return "bfloat16" if is_float4 else None


def loading_note(scheme: str) -> str:
    """Return a line on what loads such weights, where that is not all of the libraries.

    >>> loading_note("int4:asym")
    'zero points are packed as compressed-tensors packs them, which transformers 5.23 does not load'
    """
    layout = codec_of(scheme).layout
    if isinstance(layout, Integers) and layout.asymmetric and layout.group is not None:
        return (
            "zero points are packed as compressed-tensors packs them, which transformers "
            "5.23 does not load"
        )
    dtype = computing_dtype(scheme)
    return (
        f"config.json names {dtype}, to which compressed-tensors decodes" if dtype else ""
    )


def _weights(layout: Any, scheme: str) -> tuple[dict[str, Any], str]:
    """Return how compressed-tensors describes weights, and the name of the format."""
    common: dict[str, Any] = {"dynamic": False, "symmetric": True, "type": "float"}
    match layout:
        case Integers():
            spread = {None: "tensor", 0: "channel"}.get(layout.group, "group")
            weights = {
                **common,
                "num_bits": layout.bits,
                "type": "int",
                "symmetric": not layout.asymmetric,
                "strategy": spread,
                "group_size": layout.group or None,
            }
            return weights, "int-quantized" if layout.group is None else "pack-quantized"
        case Float8(e5m2=False):
            return {**common, "num_bits": 8, "strategy": layout.spread}, "float-quantized"
        case MXFP4():
            weights = {**common, "num_bits": 4, "strategy": "group", "group_size": 32}
            return {**weights, "scale_dtype": "torch.uint8"}, "mxfp4-pack-quantized"
        case NVFP4():
            weights = {
                **common,
                "num_bits": 4,
                "strategy": "tensor_group",
                "group_size": 16,
            }
            return {**weights, "scale_dtype": "torch.float8_e4m3fn"}, "nvfp4-pack-quantized"
    raise _no_layout(scheme)
