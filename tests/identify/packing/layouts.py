"""Layouts of packed layers as libraries write them, and what is read off them.

Layouts of bitsandbytes 0.50, MLX 0.32 and compressed-tensors 0.20 were printed by those
libraries; GPTQ, AWQ, HQQ, ModelOpt and torchao layouts are those of the buffers that
GPTQModel 7.7, AutoAWQ 0.2.9, HQQ 0.2.8, ModelOpt 0.47 and torchao 0.18 register.
"""

from math import prod

from explorer.dtypes import find_safetensors, is_trainable
from explorer.identify.packing import Packed, Quantization, find, unpack
from tests.facts import listing

Layout = dict[str, tuple[tuple[int, ...], str]]


def read(layout: Layout, config: object = None) -> dict[str, Packed]:
    keys = list(layout)
    shapes, dtypes = [s for s, _ in layout.values()], [d for _, d in layout.values()]
    found = unpack(keys, shapes, dtypes, config=config)
    return {keys[i]: packed for i, packed in found.items()}


def parameters(layout: Layout, config: object = None) -> int:
    """Elements of packed weights at their logical count, and of what is not packed."""
    found = read(layout, config)
    return sum(
        prod(found[name].shape if name in found else shape)
        for name, (shape, _) in layout.items()
        if name not in found or found[name].collection == "params"
    )


def elements(layout: Layout) -> int:
    return sum(prod(shape) for shape, _ in layout.values())


def gptq(out: int, width: int, bits: int, group: int, name: str = "up") -> Layout:
    groups = width // group
    return {
        f"{name}.qweight": ((width * bits // 32, out), "int32"),
        f"{name}.qzeros": ((groups, out * bits // 32), "int32"),
        f"{name}.scales": ((groups, out), "float16"),
        f"{name}.g_idx": ((width,), "int32"),
    }


def published(model_id: str) -> Layout:
    tensors = listing(model_id, ondisk=True)["tensors"]
    formats = {d: f.name for _, d in tensors.values() if (f := find_safetensors(d))}
    return {
        name: (tuple(shape), formats[dtype]) for name, (shape, dtype) in tensors.items()
    }


def pack_quantized(words: int, groups: int) -> Layout:
    return {
        "up.weight_packed": ((256, words), "int32"),
        "up.weight_scale": ((256, groups), "bfloat16"),
        "up.weight_shape": ((2,), "int64"),
    }


def mlx(words: int, groups: int) -> Layout:
    return {
        "model.up.weight": ((256, words), "uint32"),
        "model.up.scales": ((256, groups), "float16"),
        "model.up.biases": ((256, groups), "float16"),
    }


def find_in(layout: Layout, config: object = None) -> Quantization:
    """What is found in a layout: the schemes' layers, and what belongs to none."""
    keys = list(layout)
    shapes, dtypes = [s for s, _ in layout.values()], [d for _, d in layout.values()]
    return find(keys, shapes, dtypes, firsts=range(len(keys)), config=config)


def counted(layout: Layout, config: object = None) -> tuple[int, tuple[str, ...]]:
    """Elements of the float tensors that are parameters, and what is not understood."""
    packed, unread = find_in(layout, config)
    total = 0
    for index, (shape, dtype) in enumerate(layout.values()):
        if index not in packed:
            total += prod(shape) if is_trainable(dtype) else 0
        elif packed[index].collection == "params":
            total += prod(packed[index].shape)
    return total, unread
