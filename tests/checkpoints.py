"""Sparse checkpoints: real headers over holes, so that 688 GB take a few kB of disk."""

import json
import os
import struct
from math import prod
from pathlib import Path

from tests.formats.test_safetensors import EVERY_DTYPE as BITS

Layout = dict[str, tuple[tuple[int, ...], str]]


def write_sparse(path: Path, layout: Layout) -> Path:
    """Write a safetensors file of this layout whose data is one hole."""
    header, at = {}, 0
    for name, (shape, dtype) in layout.items():
        end = at + prod(shape) * BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    raw = json.dumps(header, separators=(",", ":")).encode()  # as published files are
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    os.truncate(path, 8 + len(raw) + at)
    return path


def write_folder(folder: Path, layout: Layout, config: dict | None = None) -> Path:
    """Write a folder as the Hub has it: model.safetensors, and config.json where given."""
    folder.mkdir(parents=True, exist_ok=True)
    write_sparse(folder / "model.safetensors", layout)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_sharded(folder: Path, layout: Layout, shards: int) -> Path:
    """Write a folder of shards and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(layout)
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[number::shards]
        write_sparse(folder / file, {name: layout[name] for name in mine})
        weight_map |= dict.fromkeys(mine, file)
    total = sum(prod(shape) * BITS[dtype] // 8 for shape, dtype in layout.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
