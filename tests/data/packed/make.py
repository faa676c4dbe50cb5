"""Layers that quantising libraries packed, and what those libraries make of them again.

    python make.py FOLDER

writes a safetensors file for each layout, and beside it `expected.safetensors`, the float32
weights by layout, and `originals.safetensors`, what was packed. It needs torch, bitsandbytes 0.50, compressed-tensors 0.20, transformers 5.24,
hqq 0.2.8, mlx 0.29, torchao 0.18, and the files of AutoAWQ 0.2.9 and ModelOpt that pack.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file

OUT, IN = 8, 128
FOUND: dict[str, dict[str, torch.Tensor]] = {}
EXPECTED: dict[str, torch.Tensor] = {}
ORIGINALS: dict[str, torch.Tensor] = {}
torch.manual_seed(0)


def weight(out: int = OUT, width: int = IN) -> torch.Tensor:
    return torch.randn(out, width) * 0.02


def add(
    name: str, parts: dict[str, torch.Tensor], expected: torch.Tensor, w: torch.Tensor
) -> None:
    ORIGINALS[name] = w.float().contiguous().clone()
    FOUND[name] = {f"up.{key}": value.contiguous().clone() for key, value in parts.items()}
    EXPECTED[name] = expected.to(torch.float32).contiguous().clone()


def bitsandbytes() -> None:
    import bitsandbytes.functional as bnb

    for kind in ("nf4", "fp4"):
        for nested in (False, True):
            w = weight(20, 128)
            packed, state = bnb.quantize_4bit(
                w, quant_type=kind, blocksize=64, compress_statistics=nested
            )
            parts = {f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}
            name = f"bitsandbytes_{kind}{'_nested' if nested else ''}"
            add(name, {"weight": packed, **parts}, bnb.dequantize_4bit(packed, state), w)
    w = weight().half()
    q, scale, _ = bnb.int8_vectorwise_quant(w)
    add(
        "bitsandbytes_int8",
        {"weight": q, "SCB": scale},
        bnb.int8_vectorwise_dequant(q, scale),
        w,
    )


def compressed() -> None:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    def one(name: str, format: str, w: torch.Tensor, group: int | None, **args) -> None:
        found = QuantizationArgs(group_size=group, **args)
        scheme = QuantizationScheme(targets=["Linear"], weights=found)
        shaped = w if group is None else w.reshape(len(w), -1, group)
        low, high = shaped.amin(-1), shaped.amax(-1)
        if group is None:
            low, high = low[:, None], high[:, None]
        extra = {}
        if format == "nvfp4-pack-quantized":
            extra["weight_global_scale"] = torch.tensor([448.0 * 6 / w.abs().max().item()])
            scale, zero = calculate_qparams(low, high, found, extra["weight_global_scale"])
        else:
            scale, zero = calculate_qparams(low, high, found)
        state = {"weight": w, "weight_scale": scale, "weight_zero_point": zero, **extra}
        compressor = BaseCompressor.get_value_from_registry(format)
        packed = compressor.compress(state, scheme)
        if format == "nvfp4-pack-quantized":  # its own way goes through bfloat16
            from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
            from compressed_tensors.quantization.lifecycle.forward import dequantize

            codes = unpack_fp4_from_uint8(packed["weight_packed"], *w.shape).float()
            whole = extra["weight_global_scale"]
            wide = dequantize(
                codes,
                packed["weight_scale"].float(),
                args=found,
                global_scale=whole,
                dtype=torch.float32,
            )
            add(name, packed, wide, w)
            return
        add(name, packed, compressor.decompress(packed, scheme)["weight"], w)

    ints = {"type": "int"}
    one(
        "compressed_int4",
        "pack-quantized",
        weight(),
        32,
        num_bits=4,
        strategy="group",
        symmetric=True,
        **ints,
    )
    one(
        "compressed_int4_zero",
        "pack-quantized",
        weight(16) + 0.01,
        32,
        num_bits=4,
        strategy="group",
        symmetric=False,
        **ints,
    )
    one(
        "compressed_int3",
        "pack-quantized",
        weight(width=96),
        None,
        num_bits=3,
        strategy="channel",
        symmetric=True,
        **ints,
    )
    one(
        "compressed_int8",
        "int-quantized",
        weight(),
        None,
        num_bits=8,
        strategy="channel",
        symmetric=True,
        **ints,
    )
    one(
        "compressed_int8_zero",
        "int-quantized",
        weight() + 0.01,
        None,
        num_bits=8,
        strategy="channel",
        symmetric=False,
        **ints,
    )
    one(
        "compressed_fp8",
        "float-quantized",
        weight(),
        None,
        num_bits=8,
        strategy="channel",
        symmetric=True,
        type="float",
    )
    one(
        "compressed_nvfp4",
        "nvfp4-pack-quantized",
        weight(),
        16,
        num_bits=4,
        strategy="tensor_group",
        symmetric=True,
        scale_dtype=torch.float8_e4m3fn,
        type="float",
    )
    one(
        "compressed_mxfp4",
        "mxfp4-pack-quantized",
        weight(),
        32,
        num_bits=4,
        strategy="group",
        symmetric=True,
        type="float",
        scale_dtype=torch.uint8,
    )


def awq(root: Path) -> None:
    sys.path.insert(0, str(root))
    from packing_utils import AWQ_ORDER, dequantize_gemm

    w, group = weight(IN, OUT), 32  # [in, out]
    low, high = w.reshape(-1, group, OUT).amin(1), w.reshape(-1, group, OUT).amax(1)
    scales = ((high - low) / 15).half()
    zeros = (-low / scales).round().clamp(0, 15).int()
    codes = (
        w / scales.repeat_interleave(group, 0)
    ).round().int() + zeros.repeat_interleave(group, 0)

    def packed(codes: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
        for at, column in enumerate(AWQ_ORDER):
            found |= codes[:, column::8].clamp(0, 15).int() << (4 * at)
        return found

    qweight, qzeros = packed(codes), packed(zeros)
    expected = dequantize_gemm(qweight, qzeros, scales.float(), 4, group)
    add("awq", {"qweight": qweight, "qzeros": qzeros, "scales": scales}, expected.T, w.T)


def hqq() -> None:
    from hqq.core.quantize import Quantizer

    for bits, axis in ((4, 1), (4, 0), (3, 1), (2, 1), (8, 1), (1, 1)):
        w = weight(16, 128)
        packed, meta = Quantizer.quantize(
            w,
            nbits=bits,
            group_size=64,
            axis=axis,
            optimize=True,
            device="cpu",
            compute_dtype=torch.float32,
        )
        expected = Quantizer.dequantize(packed, {**meta, "compute_dtype": torch.float32})
        parts = {
            "W_q": packed, "scale": meta["scale"].float(), "zero": meta["zero"].float(),
            "shape": torch.tensor(list(w.shape)), "nbits": torch.tensor(bits), "axis": torch.tensor(axis),
        }  # fmt: skip
        add(f"hqq_{bits}_{axis}", parts, expected, w)


def mlx() -> None:
    import mlx.core as mx

    for bits in (2, 3, 4, 6, 8):
        w = mx.array(weight().numpy())
        packed, scales, biases = mx.quantize(w, group_size=64, bits=bits)
        expected = mx.dequantize(packed, scales, biases, group_size=64, bits=bits)
        parts = {"weight": packed, "scales": scales, "biases": biases}
        found = {name: torch.from_numpy(np.array(part)) for name, part in parts.items()}
        add(
            f"mlx_{bits}",
            found,
            torch.from_numpy(np.array(expected)),
            torch.from_numpy(np.array(w)),
        )
    for mode in ("mxfp4", "nvfp4", "mxfp8"):
        w = mx.array(weight().numpy())
        packed, scales = mx.quantize(w, mode=mode)
        expected = mx.dequantize(packed, scales, mode=mode, dtype=mx.float32)
        found = {
            "weight": torch.from_numpy(np.array(packed)),
            "scales": torch.from_numpy(np.array(scales)),
        }
        add(
            f"mlx_{mode}",
            found,
            torch.from_numpy(np.array(expected)),
            torch.from_numpy(np.array(w)),
        )


def transformers() -> None:
    from transformers.integrations.bitnet import pack_weights, unpack_weights
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    ternary = torch.randint(-1, 2, (OUT, IN)).to(torch.int8)
    packed = pack_weights(ternary.clone())
    scale = torch.tensor([37.5])
    back = (
        unpack_weights.__wrapped__
        if hasattr(unpack_weights, "__wrapped__")
        else unpack_weights
    )
    add(
        "bitnet",
        {"weight": packed, "weight_scale": scale},
        back(packed, torch.float32) / scale,
        ternary / scale,
    )
    blocks = torch.randint(0, 256, (2, 24, 3, 16), dtype=torch.uint8)
    scales = torch.randint(118, 128, (2, 24, 3), dtype=torch.uint8)
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    FOUND["gpt_oss"] = {"experts.up_proj_blocks": blocks, "experts.up_proj_scales": scales}
    EXPECTED["gpt_oss"] = expected.transpose(1, 2).contiguous()  # as it is stored


def torchao() -> None:
    from torchao.quantization import Float8Tensor
    from torchao.quantization.granularity import PerRow

    w = weight()
    found = Float8Tensor.from_hp(w, granularity=PerRow())
    parts = {"_weight_qdata": found.qdata, "_weight_scale": found.scale}
    add("torchao_fp8", parts, found.dequantize(torch.float32), w)


def deepseek() -> None:
    """The Triton kernel of DeepSeek-V3's inference/kernel.py, `weight_dequant`, in torch."""
    w = weight(130, 140)
    rows, columns = -(-w.shape[0] // 128), -(-w.shape[1] // 128)
    scale = torch.zeros(rows, columns)
    packed, back = torch.zeros_like(w).to(torch.float8_e4m3fn), torch.zeros_like(w)
    for i in range(rows):
        for j in range(columns):
            at = (slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128))
            scale[i, j] = w[at].abs().max() / 448
            packed[at] = (w[at] / scale[i, j]).to(torch.float8_e4m3fn)
            back[at] = packed[at].float() * scale[i, j]
    add("deepseek_fp8", {"weight": packed, "weight_scale_inv": scale}, back, w)


def modelopt(root: Path) -> None:
    source = (root / "quant_utils.py").read_text()
    start = source.index("def pack_int4_in_uint8")
    names = {"torch": torch, "_validate_int4_block_size": lambda *_: None}
    exec(source[start : source.index("def to_quantized_weight")], names)
    w = weight()
    scale = w.reshape(OUT, -1, 32).abs().amax(-1) / 7
    packed = names["pack_int4_in_uint8"](w, scale, 32)
    spread = scale.repeat_interleave(32, 1)
    expected = (w / spread).round().clamp(-8, 7) * spread
    add("modelopt_int4", {"weight": packed, "weight_scale": scale}, expected, w)


if __name__ == "__main__":
    folder, sources = Path(sys.argv[1]), Path(sys.argv[2])
    for make in (bitsandbytes, compressed, hqq, mlx, transformers, torchao, deepseek):
        make()
    awq(sources)
    modelopt(sources)
    for name, parts in FOUND.items():
        save_file(parts, folder / f"{name}.safetensors")
    save_file(EXPECTED, folder / "expected.safetensors")
    save_file(ORIGINALS, folder / "originals.safetensors")
    print(SimpleNamespace(layouts=len(FOUND)))
