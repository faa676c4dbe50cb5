"""A Llama of 2 GB in bfloat16 from its folder to parameters, on one device and sharded over eight.

python benchmarks/load_pretrained.py

Against reading the file (into one buffer, and into memory that is kept, as parameters are), and
the peak of memory against the bytes that are kept; of a file that the system has cached, and of
one that comes from the disk.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import stored_tensors

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 5632,
    "num_attention_heads": 32, "num_key_value_heads": 4, "num_hidden_layers": 22, "vocab_size": 32000,
}  # fmt: skip
_BUFFER = 1 << 24


def write(folder: Path) -> int:
    """Write the folder; return the bytes of its tensors."""
    architecture = architecture_of(CONFIG)
    stored = stored_tensors(architecture, checkpoint_names_of(architecture), False)
    block = np.random.default_rng(0).standard_normal(1 << 20).astype(ml_dtypes.bfloat16)
    tensors = {name: np.resize(block, tensor.shape) for name, tensor in stored.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return sum(tensor.nbytes for tensor in tensors.values())


def forget(path: Path) -> None:
    """Drop a file from the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path: Path, keep: bool, cached: bool = True) -> float:
    """Return the seconds of reading a file into one buffer, or into new ones."""
    if not cached:
        forget(path)
    kept, buffer = [], np.empty(_BUFFER, np.uint8)
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(memoryview(buffer)):
            if keep:
                kept.append(buffer)
                buffer = np.empty(_BUFFER, np.uint8)
    return time.perf_counter() - start


def peak() -> int:
    """Return the peak of this process's memory in bytes; that of getrusage is its parent's too."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def load(folder: str, devices: int) -> None:
    """Print the seconds of loading, without imports, and how much the peak of memory grew."""
    import jax

    import explorer as ex
    import explorer.models.transformer  # what loading imports, which takes a second
    import explorer.pretrained.leaves
    from explorer.training import make_mesh

    jax.devices()
    mesh = make_mesh(fsdp=devices) if devices > 1 else None
    before = peak()
    start = time.perf_counter()
    _, params = ex.load_pretrained(folder, mesh=mesh)
    jax.block_until_ready(params)
    took = time.perf_counter() - start
    print(took, peak() - before)


def measured(folder: Path, devices: int, cached: bool) -> tuple[float, float]:
    """Return what `load` prints in a process of its own: the best time, the largest peak."""
    runs = [_once(folder, devices, cached) for _ in range(3)]
    return min(took for took, _ in runs), max(peak for _, peak in runs)


def _once(folder: Path, devices: int, cached: bool) -> tuple[float, float]:
    if not cached:
        forget(folder / "model.safetensors")
    flags = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, __file__, str(folder), str(devices)]
    env = {**os.environ, "XLA_FLAGS": flags}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    took, peak = done.stdout.split()
    return float(took), float(peak)


def main() -> None:
    """Print gigabytes a second, and the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nbytes = write(folder)
        path = folder / "model.safetensors"
        for cached in (True, False):
            print("cached by the system" if cached else "from the disk")
            reads = [
                min(read(path, keep, cached) for _ in range(3)) for keep in (False, True)
            ]
            for devices in (1, 8):
                took, peak = measured(folder, devices, cached)
                print(
                    f"{devices} devices: {nbytes / took / 1e9:.2f} GB/s; {reads[0] / took:.2f}x the "
                    f"speed of reading, {reads[1] / took:.2f}x that of reading into new memory; "
                    f"peak {peak / nbytes:.2f}x the bytes kept"
                )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        load(sys.argv[1], int(sys.argv[2]))
    else:
        main()
